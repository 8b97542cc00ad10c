"""Budgets: what is spent, what waits, and what is refused."""

import asyncio

from forebay.domain.attempt import Usage
from forebay.domain.inference import InferenceResult
from forebay.domain.job import ErrorCode, Job, Status
from forebay.domain.order import Order
from forebay.domain.query import JobQuery
from forebay.domain.target import Limits, Prices, TargetSpec, TargetType
from forebay.engine.intake import make_job
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import Engine, OpenEngine

PARENT = "job_batch"
BODY = '{"model":"t-model","max_tokens":1000,"messages":[]}'  # reserves a little more than 0.001 USD
CHEAP = InferenceResult(
    status_code=200,
    body=answer().body,
    content_type="application/json",
    usage=Usage(input_tokens=3, output_tokens=2),
    cost_usd=0.00001,
)
PRICED = TargetSpec(
    name="t",
    type=TargetType.OPENAI,
    base_url="http://127.0.0.1:9/v1",
    models=("t-model",),
    limits=Limits(concurrency=4),
    prices=Prices(input=1.0, output=1.0),
)


async def lines(engine: Engine, places: range, budget_usd: float) -> None:
    """Lines of one batch, which is not due itself: they share its budget."""
    now = engine.clock.now()
    later = now + 3600
    made = [
        Job(
            id=PARENT,
            kind="batch",
            queue="control",
            created_at=now,
            not_before=later,
            due_at=later,
            deadline=later + 3600,
            is_group=True,
        )
    ]
    for place in places:
        order = Order(body=BODY, target="t", budget_usd=budget_usd, parent_id=PARENT, key=str(place))
        made.append(await make_job(order, engine.services))
    await engine.services.jobs.add(made)


async def ends(engine: Engine) -> list[str]:
    jobs = await engine.services.jobs.find(JobQuery(tenant="default", parent_id=PARENT, limit=100))
    return [job.error.code if job.error else job.status for job in jobs]


async def test_a_line_waits_for_what_the_calls_of_its_budget_give_back(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [CHEAP])
    engine = await open_engine(target, specs=[PRICED])
    await lines(engine, range(20), budget_usd=0.0025)  # holds two reservations, and the cost of all
    await (await engine.worker()).run_until_idle()
    assert await ends(engine) == [Status.SUCCEEDED] * 20


async def test_a_budget_that_nothing_comes_back_to_is_exceeded(open_engine: OpenEngine) -> None:
    dear = InferenceResult(status_code=200, body=CHEAP.body, content_type="application/json", cost_usd=0.001)
    target = ScriptedTarget("t", [dear])
    engine = await open_engine(target, specs=[PRICED])
    await lines(engine, range(20), budget_usd=0.0045)
    await (await engine.worker()).run_until_idle()
    outcomes = await ends(engine)
    assert len(target.calls) == outcomes.count(Status.SUCCEEDED) == 4
    assert outcomes.count(ErrorCode.BUDGET_EXCEEDED) == 16
    assert await engine.services.limits.spent(f"job:{PARENT}") <= 0.0045


async def test_a_line_waits_for_the_calls_of_another_process(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [CHEAP], is_gated=True)
    engine = await open_engine(target, specs=[PRICED])
    await lines(engine, range(1), budget_usd=0.0015)
    first, second = await engine.worker(), await engine.worker()
    under_way = asyncio.create_task(first.run_until_idle())
    await target.entered.wait()
    await lines(engine, range(1, 2), budget_usd=0.0015)
    waiting = asyncio.create_task(second.run_until_idle())
    async with asyncio.timeout(120):
        while not await _is_claimed(engine, 2):
            await asyncio.sleep(0.001)
    target.gate.set()
    await asyncio.gather(under_way, waiting)
    assert await ends(engine) == [Status.SUCCEEDED] * 2


async def _is_claimed(engine: Engine, count: int) -> bool:
    running = frozenset({Status.RUNNING})
    query = JobQuery(tenant="default", parent_id=PARENT, statuses=running)
    return len(await engine.services.jobs.find(query)) == count

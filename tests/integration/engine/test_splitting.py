"""A function that splits its task: its children work in parallel, then it is called again with what they did."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from forebay.domain.errors import RequestError, TargetError, TargetFailed, TargetRejected
from forebay.domain.function import Spawn
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.job import ErrorCode, OnUnknown, Status
from forebay.domain.query import JobQuery
from forebay.domain.target import Prices
from forebay.engine.erasure import erase
from forebay.engine.services import Bounds
from forebay.policy.spawning import read_spawn
from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services, scripted_spec
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import Engine, OpenEngine
from .faulty import is_right

BODY = '{"model":"t-model","task":"all"}'
REFUSED = TargetRejected("no", status_code=400)
CHILD: dict[str, Any] = {"target": "w", "body": {"model": "w-model"}}


def _splits(*children: dict[str, Any], **options: Any) -> Callable[[Call], InferenceResult]:
    def step(_call: Call) -> InferenceResult:
        return InferenceResult(status_code=200, body=b"{}", split=read_spawn(Spawn(children, **options)))

    return step


def _combines(call: Call) -> InferenceResult:
    body = msgspec.json.encode({"children": call.children})
    return InferenceResult(status_code=200, body=body, cost_usd=0.25)


async def _ran(engine: Engine, **fields: Any) -> str:
    job_id = await engine.submit(body=BODY, **fields)
    await asyncio.wait_for((await engine.worker()).run_until_idle(), 120)
    return job_id


async def _until_ended(engine: Engine, job_id: str) -> None:
    """Runs it through its retries, whose time is fake."""
    while not (await engine.get(job_id)).is_terminal:
        await asyncio.wait_for((await engine.worker()).run_until_idle(), 120)
        engine.clock.advance(20)
        await engine.services.jobs.recover()


async def _told(engine: Engine, job_id: str) -> dict[str, Any]:
    job = await engine.get(job_id)
    assert job.result is not None, job.error
    told: dict[str, Any] = msgspec.json.decode(job.result.body.text or "")["children"]
    return told


async def _below(engine: Engine, job_id: str) -> list[str]:
    found = await engine.services.jobs.find(JobQuery(tenant="default", parent_id=job_id, is_ascending=True))
    return [child.id for child in found]


async def test_a_function_is_called_again_with_what_its_children_did(open_engine: OpenEngine) -> None:
    children = (CHILD, {**CHILD, "name": "other"}, {**CHILD, "target": "bad"}, {"target": "nobody", "body": {}})
    planner = ScriptedTarget("t", [_splits(*children), _combines])
    engine = await open_engine(planner, ScriptedTarget("w"), ScriptedTarget("bad", [REFUSED]))
    job_id = await _ran(engine)
    told = await _told(engine, job_id)
    assert list(told) == ["w", "other", "bad", "nobody"]
    assert told["w"]["body"]["choices"][0]["message"]["content"] == "yes"
    assert told["bad"]["error"]["code"] == "target_rejected"
    assert told["nobody"]["error"]["code"] == "model_not_found"
    job = await engine.get(job_id)
    assert (job.status, job.cost_usd, job.attempt_count) == (Status.SUCCEEDED, 1.25, 2)
    assert job.usage is not None
    assert job.usage.input_tokens == 6
    assert [call.attempt for call in planner.calls] == [1, 2]
    await is_right(engine, job_id, *await _below(engine, job_id))


async def test_splitting_nests_and_goes_on_in_rounds(open_engine: OpenEngine) -> None:
    inner = {"target": "i", "body": {"model": "i-model"}}
    outer = ScriptedTarget("t", [_splits(inner), _splits(CHILD), _splits(CHILD), _combines])
    engine = await open_engine(outer, ScriptedTarget("i", [_splits(CHILD), _combines]), ScriptedTarget("w"))
    told = await _told(engine, await _ran(engine))
    assert list(told) == ["i", "w", "w-2"]
    assert told["i"]["body"]["children"]["w"]["status"] == "succeeded"
    assert told["i"]["cost_usd"] == 0.75


@pytest.mark.parametrize(
    ("bounds", "named"),
    [
        (Bounds(max_spawn_depth=3), "max_spawn_depth"),
        (Bounds(max_spawn_children=1), "max_spawn_children"),
        (Bounds(max_spawned_jobs=5, max_spawn_depth=99), "max_spawned_jobs"),
    ],
)
async def test_splitting_is_bounded(bounds: Bounds, named: str, tmp_path: Path) -> None:
    again = {"target": "t", "body": {"model": "t-model"}}
    more = _splits(again, {**again, "name": "twin"})
    endless = ScriptedTarget("t", [lambda call: _combines(call) if call.children else more(call)])
    clock = FakeClock()
    async with open_services(tmp_path, [endless], bounds=bounds, clock=clock) as services:
        job_id = await _ran(Engine(services, clock))
        everywhere = JobQuery(tenant="default", parent_id=None, statuses=frozenset({Status.FAILED}))
        found = await services.jobs.find(everywhere)
        errors = [job.error for job in found if job.error and job.error.code == "spawn_limit"]
        assert errors
        assert named in errors[0].message
        [root] = await services.jobs.get(None, [job_id])
        assert root is not None
        assert root.status is (Status.FAILED if bounds.max_spawn_children == 1 else Status.SUCCEEDED)


async def test_all_of_a_split_task_spend_from_one_budget(tmp_path: Path) -> None:
    deep = {"target": "i", "body": {"model": "i-model", "max_tokens": 10}}
    leaf = {"target": "w", "body": {"model": "w-model", "max_tokens": 10, "messages": []}}
    own = {**leaf, "name": "own", "budget_usd": 0.1}
    targets = [
        ScriptedTarget("t", [_splits(deep, own), _combines]),
        ScriptedTarget("i", [_splits(leaf, {**leaf, "name": "v"}), _combines]),
        ScriptedTarget("w"),
    ]
    prices = {"t": Prices(input=0, output=0), "i": Prices(input=0, output=0), "w": Prices(input=0, output=30_000)}
    specs = [msgspec.structs.replace(scripted_spec(one.name), prices=prices[one.name]) for one in targets]
    clock = FakeClock()
    async with open_services(tmp_path, targets, specs=specs, clock=clock) as services:
        engine = Engine(services, clock)
        job_id = await engine.submit(body='{"model":"t-model","max_tokens":10}', budget_usd=0.55)
        async with await engine.worker():
            while not (await engine.get(job_id)).is_terminal:
                await asyncio.sleep(0.01)
        job = await engine.get(job_id)
        assert job.result is not None, job.error
        told = msgspec.json.decode(job.result.body.text or "")["children"]
        assert told["own"]["error"]["code"] == "budget_exceeded"  # its own: of the whole there is enough
        below = told["i"]["body"]["children"]
        assert {entry.get("error", {}).get("code") for entry in below.values()} == {None, "budget_exceeded"}


async def test_the_first_success_calls_the_function_and_the_others_are_cancelled(open_engine: OpenEngine) -> None:
    slow = ScriptedTarget("slow", is_gated=True)
    children = ({"target": "slow", "body": {"model": "slow-model"}}, CHILD)
    engine = await open_engine(
        ScriptedTarget("t", [_splits(*children, join="first"), _combines]), ScriptedTarget("w"), slow
    )
    job_id = await engine.submit(body=BODY)
    async with await engine.worker():
        while not (await engine.get(job_id)).is_terminal:
            await asyncio.sleep(0.01)
        told = await _told(engine, job_id)
        assert (told["w"]["status"], told["slow"]["error"]["code"]) == ("succeeded", "not_needed")
        for child in await _below(engine, job_id):
            while not (await engine.get(child)).is_terminal:
                await asyncio.sleep(0.01)


async def test_where_one_failure_is_the_wholes_the_function_is_not_called_again(open_engine: OpenEngine) -> None:
    children = (CHILD, {"target": "bad", "body": {"model": "bad-model"}})
    planner = ScriptedTarget("t", [_splits(*children, on_failure="fail"), _combines])
    engine = await open_engine(planner, ScriptedTarget("w"), ScriptedTarget("bad", [REFUSED]))
    job = await engine.get(await _ran(engine))
    assert job.error is not None
    assert (job.status, job.error.code, len(planner.calls)) == (Status.FAILED, "branch_failed", 1)


async def test_a_late_child_is_left_out_at_the_deadline_of_the_join(open_engine: OpenEngine) -> None:
    slow = ScriptedTarget("w", is_gated=True)
    engine = await open_engine(ScriptedTarget("t", [_splits(CHILD, deadline="15m"), _combines]), slow)
    job_id = await engine.submit(body=BODY)
    async with await engine.worker():
        await slow.entered.wait()
        engine.clock.advance(901)
        await engine.services.jobs.recover()
        while not (await engine.get(job_id)).is_terminal:
            await asyncio.sleep(0.01)
    assert (await _told(engine, job_id))["w"]["error"]["code"] == "join_deadline"


async def test_a_cancelled_split_task_ends_with_all_below_it(open_engine: OpenEngine) -> None:
    slow = ScriptedTarget("w", is_gated=True)
    engine = await open_engine(ScriptedTarget("t", [_splits(CHILD), _combines]), slow)
    job_id = await engine.submit(body=BODY)
    async with await engine.worker():
        await slow.entered.wait()
        assert (await engine.get(job_id)).status is Status.WAITING
        await engine.services.jobs.cancel("default", [job_id])
        while not (await engine.get(job_id)).is_terminal:
            await asyncio.sleep(0.01)
    assert (await engine.get(job_id)).status is Status.CANCELLED
    assert [(await engine.get(child)).status for child in await _below(engine, job_id)] == [Status.CANCELLED]


async def test_a_call_with_results_is_broken_off_when_its_job_is_cancelled(open_engine: OpenEngine) -> None:
    planner = ScriptedTarget("t", [_splits(CHILD), _combines])
    engine = await open_engine(planner, ScriptedTarget("w", is_gated=True))
    worker = engine.services.targets["w"]
    job_id = await engine.submit(body=BODY)
    async with await engine.worker() as running:
        await worker.entered.wait()
        planner.gate.clear()
        worker.gate.set()
        while len(planner.calls) < 2:
            await asyncio.sleep(0.01)
        await engine.services.jobs.cancel("default", [job_id])
        running._on_renewal(await engine.services.jobs.renew(running.worker))
        while not (await engine.get(job_id)).is_terminal:
            await asyncio.sleep(0.01)
    assert planner.broken_off == 1
    assert (await engine.get(job_id)).status is Status.CANCELLED


async def test_a_split_task_past_its_deadline_expires(open_engine: OpenEngine) -> None:
    slow = ScriptedTarget("w", is_gated=True)
    engine = await open_engine(ScriptedTarget("t", [_splits(CHILD), _combines]), slow)
    job_id = await engine.submit(body=BODY, deadline=engine.clock.now() + 900)
    async with await engine.worker():
        await slow.entered.wait()
        engine.clock.advance(901)
        await engine.services.jobs.recover()
        slow.gate.set()
        while not (await engine.get(job_id)).is_terminal:
            await asyncio.sleep(0.01)
            await engine.services.jobs.recover()
    job = await engine.get(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, ErrorCode.EXPIRED)


async def test_a_retried_split_task_keeps_what_its_children_did_and_counts_it_once(open_engine: OpenEngine) -> None:
    planner = ScriptedTarget("t", [_splits(CHILD), REFUSED, _combines])
    worker = ScriptedTarget("w")
    engine = await open_engine(planner, worker)
    job_id = await _ran(engine)
    assert (await engine.get(job_id)).status is Status.FAILED
    assert (await engine.get(job_id)).cost_usd == 0.5
    await engine.services.jobs.retry("default", [job_id])
    await asyncio.wait_for((await engine.worker()).run_until_idle(), 120)
    job = await engine.get(job_id)
    assert (job.status, job.cost_usd, len(worker.calls)) == (Status.SUCCEEDED, 0.75, 1)


async def test_an_erased_split_task_takes_the_words_of_its_children_with_it(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t", [_splits(CHILD), _combines]), ScriptedTarget("w"))
    job_id = await _ran(engine)
    await erase("default", job_id, engine.services)
    for one in (job_id, *await _below(engine, job_id)):
        job = await engine.get(one)
        assert (job.status, job.body, job.result) == (Status.SUCCEEDED, None, None)


async def test_an_invalid_answer_is_asked_for_again_with_the_same_children(open_engine: OpenEngine) -> None:
    planner = ScriptedTarget("t", [_splits(CHILD), answer("no number"), answer("7")])
    engine = await open_engine(planner, ScriptedTarget("w"))
    args = '{"schema": {"type": "integer"}}'
    job_id = await engine.submit(body='{"model":"t-model","messages":[]}', endpoint="/v1/chat/completions", args=args)
    await _until_ended(engine, job_id)
    job = await engine.get(job_id)
    assert (job.status, job.attempt_count) == (Status.SUCCEEDED, 3)
    assert planner.calls[1].children == planner.calls[2].children != {}
    assert b"no number" in planner.calls[2].body


async def test_children_that_died_run_again_before_the_function_does(open_engine: OpenEngine) -> None:
    planner = ScriptedTarget("t", [_splits(CHILD, on_failure="fail"), _combines])
    engine = await open_engine(planner, ScriptedTarget("w", [REFUSED, answer()]))
    job_id = await _ran(engine)
    assert (await engine.get(job_id)).status is Status.FAILED
    await engine.services.jobs.retry("default", [job_id])
    await asyncio.wait_for((await engine.worker()).run_until_idle(), 120)
    assert (await _told(engine, job_id))["w"]["status"] == "succeeded"


async def test_a_call_that_fails_is_made_again_with_the_same_children(open_engine: OpenEngine) -> None:
    flaky: TargetError = TargetFailed("oh")
    planner = ScriptedTarget("t", [flaky, _splits(CHILD), flaky, _combines])
    engine = await open_engine(planner, ScriptedTarget("w"))
    job_id = await engine.submit(body=BODY)
    await _until_ended(engine, job_id)
    assert (await _told(engine, job_id))["w"]["status"] == "succeeded"
    assert planner.calls[2].children == planner.calls[3].children


async def test_a_call_of_unknown_end_is_held_where_that_was_asked(open_engine: OpenEngine) -> None:
    def first(call: Call) -> InferenceResult:
        planner.gate.clear()
        return _splits(CHILD)(call)

    planner = ScriptedTarget("t", [first, _combines])
    engine = await open_engine(planner, ScriptedTarget("w"))
    job_id = await engine.submit(body=BODY, on_unknown=OnUnknown.HOLD)
    doomed = asyncio.create_task((await engine.worker()).run_until_idle())
    while len(planner.calls) < 2:
        await asyncio.sleep(0.01)
    engine.clock.advance(3600)
    await engine.services.jobs.recover()
    await asyncio.wait_for((await engine.worker()).run_until_idle(), 120)
    job = await engine.get(job_id)
    assert job.error is not None
    assert (job.error.code, len(planner.calls)) == (ErrorCode.OUTCOME_UNKNOWN, 2)
    planner.gate.set()
    await asyncio.wait_for(doomed, 120)


@pytest.mark.parametrize(
    ("spawn", "told"),
    [
        (Spawn([]), "no children"),
        (Spawn([{"body": {}}]), "names no"),
        (Spawn([{"target": "w"}]), "body"),
        (Spawn([{**CHILD, "targets": ["a"]}]), "not both"),
        (Spawn([{**CHILD, "notify": {}}]), "give the job"),
        (Spawn([{**CHILD, "foo": 1}]), "foo"),
        (Spawn([{**CHILD, "body": {"model": "m", "stream": True}}]), "stream"),
        (Spawn([{**CHILD, "name": "a"}, {**CHILD, "name": "a"}]), "name 'a'"),
        (Spawn([{**CHILD, "timeout": "soon"}]), "timeout"),
        (Spawn([{**CHILD, "deadline": "2026-01-01T00:00:00"}]), "time zone"),
        (Spawn([{**CHILD, "body": {"x": object()}}]), "object"),
        (Spawn([CHILD], join={"successes": 2}), "join"),
        (Spawn([CHILD], on_failure="never"), "on_failure"),
    ],
)
def test_what_cannot_be_acted_on_is_refused(spawn: Spawn, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        read_spawn(spawn)

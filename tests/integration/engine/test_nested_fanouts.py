"""Fan-outs within fan-outs, of rules and of tasks that are split: bounded, paid by the whole, and told in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from forebay.domain.errors import TargetRejected
from forebay.domain.fanout import Branch, FanoutArgs
from forebay.domain.function import Spawn
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.job import Job, Status
from forebay.domain.order import Order
from forebay.domain.query import JobQuery, Parts
from forebay.domain.target import Prices
from forebay.domain.webhook import notify_args
from forebay.engine.events import Incoming, receive
from forebay.engine.fanouts import make_fanout
from forebay.engine.handlers import budget
from forebay.engine.services import Bounds
from forebay.policy.rules import read_rule
from forebay.policy.spawning import read_spawn
from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services, scripted_spec
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import BODY, Engine
from .faulty import is_right

REFUSED = TargetRejected("no", status_code=400)
EVENT = Incoming(source="shop", id="1", type="t", text='{"source": "shop", "detail": {"who": "ann"}}')
ENTRY: dict[str, Any] = {"body": {"model": "m", "messages": [], "max_tokens": 10}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a budget in its slot waits in real time."""
    monkeypatch.setattr(budget, "PATIENCE_SECONDS", 0.05)


@asynccontextmanager
async def engine_of(
    folder: Path, *targets: ScriptedTarget, usd: float | None = None, **bounds: Any
) -> AsyncIterator[Engine]:
    """``usd``: what a call's 10 tokens cost."""
    prices = None if usd is None else Prices(input=0, output=usd * 1e5)
    specs = [msgspec.structs.replace(scripted_spec(target.name), prices=prices) for target in targets]
    clock = FakeClock()
    async with open_services(folder, targets, specs=specs, clock=clock, bounds=Bounds(**bounds)) as services:
        yield Engine(services, clock)


async def idle(engine: Engine) -> None:
    await asyncio.wait_for((await engine.worker()).run_until_idle(), 120)


async def ended(engine: Engine, job_id: str) -> None:
    """Runs it through the pauses of who waits for a budget, whose time is fake."""
    while not (await engine.get(job_id)).is_terminal:
        await idle(engine)
        engine.clock.advance(6)
        await engine.services.jobs.recover()


async def fired(engine: Engine, send: dict[str, Any], **members: Any) -> str:
    """The job that a rule makes of the event."""
    rule = read_rule({"name": "r", "pattern": {"source": ["shop"]}, "send": send, **members})
    await engine.services.rules.put("default", rule, is_new=False)
    event = msgspec.structs.replace(EVENT, id=engine.services.ids.new("event"))
    received = await receive(event, engine.services, tenant="default")
    [matched] = received.data.matched
    return matched.job_id


async def submitted(engine: Engine, args: FanoutArgs, **fields: Any) -> str:
    job = await make_fanout(Order(body=BODY, fanout=args, **fields), engine.services)
    [added] = await engine.services.jobs.add([job])
    return added.id


async def told(engine: Engine, job_id: str) -> dict[str, Any]:
    job = await engine.get(job_id)
    assert job.result is not None, job.error
    entries: dict[str, Any] = msgspec.json.decode(job.result.body.text or "")["body"]
    return entries


async def below(engine: Engine, job_id: str) -> list[Job]:
    query = JobQuery(tenant="default", parent_id=job_id, is_ascending=True, parts=Parts(attempts=True))
    children = await engine.services.jobs.find(query)
    return [*children, *[one for child in children for one in await below(engine, child.id)]]


def codes_of(entries: dict[str, Any]) -> set[str]:
    return {entry.get("error", {"code": ""})["code"] for entry in entries.values()}


def splits(*children: dict[str, Any], **options: Any) -> Any:
    def step(call: Call) -> InferenceResult:
        if call.children:
            return InferenceResult(status_code=200, body=msgspec.json.encode(call.children), cost_usd=0.0)
        return InferenceResult(status_code=200, body=b"{}", split=read_spawn(Spawn(children, **options)))

    return step


async def test_an_entry_of_a_rule_that_names_several_targets_is_a_fan_out_of_its_own(tmp_path: Path) -> None:
    targets = ScriptedTarget("a"), ScriptedTarget("b", [REFUSED]), ScriptedTarget("c", [answer("no")])
    async with engine_of(tmp_path, *targets) as engine:
        body = {"model": "c-model", "messages": [{"role": "user", "content": "For {detail.who}"}]}
        send = {
            "panel": {"targets": ["a", "b"], "body": {**body, "model": "a-model"}},
            "c": {"target": "c", "body": body},
        }
        job_id = await fired(engine, send)
        await idle(engine)
        entries = await told(engine, job_id)
        panel = entries["panel"]["body"]
        assert (entries["panel"]["status"], list(panel)) == ("succeeded", ["a", "b"])
        assert panel["a"]["body"]["choices"][0]["message"]["content"] == "yes"
        assert panel["b"]["error"]["code"] == "target_rejected"
        assert entries["c"]["body"]["choices"][0]["message"]["content"] == "no"
        assert b"For ann" in targets[0].calls[0].body
        job = await engine.get(job_id)
        assert (job.status, job.cost_usd) == (Status.SUCCEEDED, 1.0)
        await is_right(engine, job_id, *[one.id for one in await below(engine, job_id)])


async def test_a_nested_fan_out_joins_as_it_says(tmp_path: Path) -> None:
    slow = ScriptedTarget("slow", is_gated=True)
    async with engine_of(tmp_path, ScriptedTarget("a"), slow) as engine:
        job_id = await fired(engine, {"race": {"targets": ["slow", "a"], "join": "first", **ENTRY}})
        async with await engine.worker():
            while not (await engine.get(job_id)).is_terminal:
                await asyncio.sleep(0.01)
        race = (await told(engine, job_id))["race"]["body"]
        assert race["a"]["status"] == "succeeded"
        assert (race["slow"]["status"], race["slow"]["error"]["code"]) == ("cancelled", "not_needed")


async def test_a_nested_fan_out_that_fails_is_an_entry_with_its_error(tmp_path: Path) -> None:
    async with engine_of(tmp_path, ScriptedTarget("a"), ScriptedTarget("b", [REFUSED])) as engine:
        send = {"panel": {"targets": ["b", "b"], **ENTRY}, "a": {"target": "a", **ENTRY}}
        job_id = await fired(engine, send)
        await idle(engine)
        entries = await told(engine, job_id)
        assert (entries["panel"]["status"], entries["panel"]["error"]["code"]) == ("failed", "no_success")
        assert entries["a"]["status"] == "succeeded"


async def test_what_a_nested_fan_out_has_when_the_whole_is_late_is_not_lost(tmp_path: Path) -> None:
    slow = ScriptedTarget("slow", is_gated=True)
    async with engine_of(tmp_path, ScriptedTarget("a"), slow) as engine:
        job_id = await fired(engine, {"panel": {"targets": ["slow", "a"], **ENTRY}}, deadline="100s")
        async with await engine.worker():
            await asyncio.wait_for(slow.entered.wait(), 120)
            while not any(one.status is Status.SUCCEEDED for one in await below(engine, job_id)):
                await asyncio.sleep(0.01)
            engine.clock.advance(97)
            while not (await engine.get(job_id)).is_terminal:
                await engine.services.jobs.recover()
                await asyncio.sleep(0.01)
        panel = (await told(engine, job_id))["panel"]["body"]
        assert panel["a"]["status"] == "succeeded"
        assert panel["slow"]["error"]["code"] == "join_deadline"


async def test_an_entry_waits_for_its_time(tmp_path: Path) -> None:
    async with engine_of(tmp_path, ScriptedTarget("a"), ScriptedTarget("b")) as engine:
        now = engine.clock.now()
        send = {
            "soon": {"target": "a", "not_before": "10m", "deadline": "5m", **ENTRY},
            "later": {"targets": ["b"], "not_before": now + 1200, **ENTRY},
        }
        job_id = await fired(engine, send)
        await idle(engine)
        soon, later = sorted(await below(engine, job_id), key=lambda one: one.not_before or 0.0)
        assert (soon.not_before, soon.deadline, soon.status) == (now + 600, now + 900, Status.QUEUED)
        assert (later.not_before, later.status) == (now + 1200, Status.QUEUED)
        engine.clock.advance(601)
        await engine.services.jobs.recover()
        await idle(engine)
        assert {one.key: one.status for one in await below(engine, job_id)} == {
            "branch:soon": Status.SUCCEEDED,
            "branch:later": Status.QUEUED,
        }
        engine.clock.advance(600)
        await engine.services.jobs.recover()
        await idle(engine)
        assert (await engine.get(job_id)).status is Status.SUCCEEDED


async def test_all_levels_spend_from_the_whole_budget(tmp_path: Path) -> None:
    async with engine_of(tmp_path, ScriptedTarget("a"), usd=0.5) as engine:
        send = {"panel": {"targets": ["a", "a"], **ENTRY}, "one": {"target": "a", **ENTRY}}
        job_id = await fired(engine, send, budget_usd=1.1)
        await ended(engine, job_id)
        leaves = [one for one in await below(engine, job_id) if one.kind == "infer"]
        assert sorted(one.error.code if one.error else "" for one in leaves) == ["", "", "budget_exceeded"]


async def test_an_entrys_own_budget_bounds_it_alone(tmp_path: Path) -> None:
    async with engine_of(tmp_path, ScriptedTarget("a"), usd=0.5) as engine:
        send = {
            "poor": {"targets": ["a", "a"], "budget_usd": 0.6, **ENTRY},
            "rich": {"targets": ["a", "a"], "budget_usd": 1.1, **ENTRY},
            "none": {"target": "a", "budget_usd": 0.1, **ENTRY},
        }
        for whole in (None, 5):
            job_id = await fired(engine, send, budget_usd=whole)
            await ended(engine, job_id)
            entries = await told(engine, job_id)
            assert codes_of(entries["poor"]["body"]) == {"", "budget_exceeded"}
            assert codes_of(entries["rich"]["body"]) == {""}
            assert entries["none"]["error"]["code"] == "budget_exceeded"


async def test_a_child_of_a_split_task_may_be_a_fan_out(tmp_path: Path) -> None:
    child = {"name": "panel", "targets": ["a", "b"], "body": {"model": "a-model"}, "not_before": "1m"}
    planner = ScriptedTarget("t", [splits(child)])
    async with engine_of(tmp_path, planner, ScriptedTarget("a"), ScriptedTarget("b", [REFUSED])) as engine:
        job_id = await engine.submit(body=BODY)
        await idle(engine)
        assert not planner.calls[1:]
        engine.clock.advance(61)
        await engine.services.jobs.recover()
        await idle(engine)
        panel = planner.calls[1].children["panel"]
        assert (panel["status"], list(panel["body"])) == ("succeeded", ["a", "b"])
        assert panel["body"]["b"]["error"]["code"] == "target_rejected"
        job = await engine.get(job_id)
        assert (job.status, job.cost_usd) == (Status.SUCCEEDED, 0.5)
        await is_right(engine, job_id, *[one.id for one in await below(engine, job_id)])


@pytest.mark.parametrize("bounds", [{"max_spawn_depth": 1}, {"max_spawned_jobs": 2}])
async def test_fan_outs_below_a_split_task_are_bounded(tmp_path: Path, bounds: dict[str, int]) -> None:
    planner = ScriptedTarget("t", [splits({"targets": ["a", "a"], "body": {"model": "a-model"}})])
    async with engine_of(tmp_path, planner, ScriptedTarget("a"), **bounds) as engine:
        job_id = await engine.submit(body=BODY)
        await idle(engine)
        job = await engine.get(job_id)
        assert (job.status, job.error and job.error.code) == (Status.FAILED, "spawn_limit")


async def test_a_nested_fan_out_is_bounded_in_depth_and_its_functions_with_it(tmp_path: Path) -> None:
    endless = ScriptedTarget("t", [splits({"targets": ["t"], "body": {"model": "t-model"}})])
    async with engine_of(tmp_path, endless, max_spawn_depth=3) as engine:
        job_id = await fired(engine, {"panel": {"targets": ["t"], **ENTRY}})
        await idle(engine)
        everything = await below(engine, job_id)
        assert {one.error.code for one in everything if one.error and one.kind == "infer"} == {"spawn_limit"}
        assert len(everything) == 2
    async with engine_of(tmp_path / "flat", ScriptedTarget("a"), max_spawn_depth=0) as engine:
        job_id = await fired(engine, {"panel": {"targets": ["a"], **ENTRY}, "a": {"target": "a", **ENTRY}})
        await idle(engine)
        entries = await told(engine, job_id)
        assert (entries["panel"]["error"]["code"], entries["a"]["status"]) == ("spawn_limit", "succeeded")


async def test_cancelling_the_whole_ends_every_level(tmp_path: Path) -> None:
    slow = ScriptedTarget("slow", is_gated=True)
    nested = FanoutArgs(branches=(Branch(name="slow", target="slow"),))
    async with engine_of(tmp_path, slow) as engine:
        job_id = await submitted(engine, FanoutArgs(branches=(Branch(name="panel", body={}, fanout=nested),)))
        async with await engine.worker():
            await asyncio.wait_for(slow.entered.wait(), 120)
            await engine.services.jobs.cancel("default", [job_id])
            while not all(one.is_terminal for one in [await engine.get(job_id), *await below(engine, job_id)]):
                await engine.services.jobs.recover()
                await asyncio.sleep(0.01)
        everything = [await engine.get(job_id), *await below(engine, job_id)]
        assert {one.status for one in everything} == {Status.CANCELLED}
        assert slow.broken_off == 1


async def test_a_failed_tree_that_is_retried_asks_again_what_failed_alone(tmp_path: Path) -> None:
    good, bad = ScriptedTarget("a"), ScriptedTarget("b", [REFUSED, answer("now")])
    async with engine_of(tmp_path, good, bad) as engine:
        job_id = await fired(engine, {"panel": {"targets": ["a", "b"], "join": {"successes": 2}, **ENTRY}})
        await idle(engine)
        failed = await engine.get(job_id)
        assert (failed.status, failed.error and failed.error.code) == (Status.FAILED, "no_success")
        assert (await told(engine, job_id))["panel"]["error"]["code"] == "no_quorum"
        await engine.services.jobs.retry("default", [job_id])
        await idle(engine)
        panel = (await told(engine, job_id))["panel"]["body"]
        assert {entry["status"] for entry in panel.values()} == {"succeeded"}
        assert (len(good.calls), len(bad.calls)) == (1, 2)
        assert (await engine.get(job_id)).cost_usd == 1.0
        await is_right(engine, job_id, *[one.id for one in await below(engine, job_id)])


async def test_a_rules_notice_is_of_the_whole_and_of_no_part(tmp_path: Path) -> None:
    async with engine_of(tmp_path, ScriptedTarget("a")) as engine:
        notify = {"webhook": "https://example.com/hook", "events": ["job.succeeded"]}
        job_id = await fired(engine, {"a": {"target": "a", **ENTRY}}, notify=notify)
        job = await engine.get(job_id)
        [notice] = job.on_end
        assert notify_args(notice.args).url == "https://example.com/hook"
        await idle(engine)
        assert not any(one.on_end for one in await below(engine, job_id))
        kinds = await engine.services.jobs.find(JobQuery(tenant="default", parent_id=None))
        assert sorted(one.kind for one in kinds) == ["fanout", "infer", "notify"]

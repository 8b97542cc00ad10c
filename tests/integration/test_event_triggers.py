"""Events that start pipelines: once, told in the receipt, bounded where they go round."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from forebay.domain.job import Job
from forebay.domain.pipeline import PIPELINE, Overlap, StepKind, StepSpec, TriggerType
from forebay.domain.query import JobQuery
from forebay.domain.schedule import SCHEDULE, schedule_data
from forebay.engine.triggers.firing import seconds_until_turn
from forebay.engine.triggers.patterns import EventTriggers
from forebay.engine.triggers.states import change_state
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.testing.doubting import DoubtingJobs
from tests.integration.api_server import Server, running_server
from tests.integration.schedule_house import args_of, pipeline

SOLD = {"id": "1", "source": "crm", "detail-type": "deal.won", "detail": {"customer": "Ada", "eur": 120}}
ON_SOLD: dict[str, Any] = {"event": {"source": ["crm"]}, "params": {"who": "{detail.customer}", "eur": "{detail.eur}"}}
WELCOME = pipeline("welcome", on=ON_SOLD, params={"who": None, "eur": None})
ROUND = StepSpec(
    name="say", kind=StepKind.PUBLISH, options={"source": "round", "detail-type": "again", "detail": {"n": 1}}
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path, pipelines=[WELCOME]) as running:
        yield running


async def send(server: Server, **fields: Any) -> list[dict[str, Any]]:
    [receipt] = (await server.post("/v1/events", 202, json={**SOLD, **fields}))["data"]
    matched: list[dict[str, Any]] = receipt["matched"]
    return matched


async def runs(server: Server) -> list[Job]:
    query = JobQuery(tenant="default", kinds=frozenset({PIPELINE}), is_ascending=True, limit=100)
    return await server.services.jobs.find(query)


async def test_an_event_starts_a_run_that_knows_it(server: Server) -> None:
    [matched] = await send(server)
    [run] = await runs(server)
    assert matched == {"rule": "welcome", "job_id": run.id}
    args = args_of(run)
    assert (args.trigger.type, args.trigger.name) == (TriggerType.EVENT, "welcome")
    assert isinstance(args.trigger.detail, dict)
    assert args.trigger.detail["detail"] == SOLD["detail"]
    assert args.params == {"who": "Ada", "eur": 120}
    assert args.hops == 1
    assert (await server.get("/v1/events", params={"unmatched": "true"}))["data"] == []


async def test_an_event_that_comes_again_starts_nothing_more(server: Server) -> None:
    first = await send(server)
    assert await send(server) == first
    replayed = await server.post("/v1/events/replay", 202, json={"ids": [await _record_id(server)]})
    assert replayed["data"][0]["matched"] == []
    assert len(await runs(server)) == 1
    assert len(await send(server, id="2")) == 1
    assert len(await runs(server)) == 2


async def test_an_event_that_came_before_the_pipeline_is_met_by_its_replay(server: Server) -> None:
    assert await send(server, source="elsewhere") == []
    late = pipeline("late", on={"event": {"source": ["elsewhere"]}})
    object.__setattr__(server.services, "event_triggers", EventTriggers([late]))
    replayed = await server.post("/v1/events/replay", 202, json={"unmatched": True})
    [run] = await runs(server)
    assert replayed["data"][0]["matched"] == [{"rule": "late", "job_id": run.id}]


async def test_an_event_whose_reply_was_lost_starts_one_run(server: Server) -> None:
    doubting = DoubtingJobs(server.services.jobs)
    object.__setattr__(server.services, "jobs", doubting)
    doubting.lose("add")
    await server.post("/v1/events", 503, json=SOLD)
    await server.post("/v1/events", 202, json=SOLD)
    assert len(await runs(server)) == 1


async def test_events_are_not_skipped_while_a_run_is_live_but_wait(server: Server) -> None:
    for number in range(3):
        await send(server, id=str(number))
    waits = [await seconds_until_turn(run, args_of(run), server.services) for run in await runs(server)]
    assert waits == [None, 1.0, 2.0]


async def test_runs_that_wait_begin_one_after_the_other_whichever_worker_has_them(tmp_path: Path) -> None:
    one_by_one = replace(pipeline("turns", on={"event": {"source": ["crm"]}}), steps=(ROUND,))
    async with running_server(tmp_path, pipelines=[one_by_one]) as server:
        for number in range(6):
            await send(server, id=str(number))
        workers = [WorkerProcess(server.services, WorkerOptions()) for _ in range(2)]
        for _ in range(80):
            server.clock.advance(1)
            for worker in workers:
                await server.services.jobs.renew(worker.worker)
            await server.services.jobs.recover()
            await asyncio.gather(*[worker.run_until_idle() for worker in workers])
        found = await runs(server)
        begun = [await server.services.jobs.find(JobQuery(tenant="default", parent_id=run.id)) for run in found]
    assert {run.status.value for run in found} == {"succeeded"}
    ends = [run.finished_at or 0 for run in found]
    assert all(end < step.created_at for end, [step] in zip(ends, begun[1:], strict=False))


async def test_under_replace_an_event_ends_the_run_before(server: Server) -> None:
    replacing = pipeline("welcome", on={"event": {"source": ["crm"]}}, overlap=Overlap.REPLACE)
    object.__setattr__(server.services, "event_triggers", EventTriggers([replacing]))
    await send(server)
    await send(server, id="2")
    assert [run.ending is not None for run in await runs(server)] == [True, False]


async def test_a_paused_trigger_matches_nothing(server: Server) -> None:
    [trigger] = WELCOME.triggers
    await change_state(trigger, server.services, tenant="default", is_paused=True)
    assert await send(server) == []
    await change_state(trigger, server.services, tenant="default", is_paused=False)
    assert len(await send(server, id="2")) == 1


async def test_an_event_without_what_the_trigger_takes_from_it_is_kept_and_told(server: Server) -> None:
    assert await send(server, detail={}) == []
    record = await server.services.records.get("default", SCHEDULE, "welcome")
    assert record is not None
    assert "detail.customer" in (schedule_data(record).last_error or "")
    assert len((await server.get("/v1/events", params={"unmatched": "true"}))["data"]) == 1


async def test_another_tenants_event_starts_no_run_of_the_installation(server: Server) -> None:
    key = await server.post("/v1/keys", json={"name": "a", "tenant": "acme", "scopes": ["submit"]})
    [receipt] = (await server.post("/v1/events", 202, json=SOLD, headers={"x-api-key": key["key"]}))["data"]
    assert receipt["matched"] == []
    assert await runs(server) == []


async def test_a_pipeline_that_publishes_what_starts_it_goes_round_until_it_is_told(tmp_path: Path) -> None:
    turning = pipeline("turning", on={"event": {"source": ["round"]}}, overlap=Overlap.ALLOW)
    turning = replace(turning, steps=(ROUND,))
    async with running_server(tmp_path, pipelines=[turning]) as server:
        await server.post("/v1/events", 202, json={**SOLD, "source": "round"})
        worker = WorkerProcess(server.services, WorkerOptions())
        await server.services.jobs.renew(worker.worker)
        for _ in range(60):
            server.clock.advance(30)
            await server.services.jobs.recover()
            await worker.run_until_idle()
        found = await runs(server)
    assert len(found) == 9  # of hops 1 to 9; the next event would be the ninth after the first
    assert [run.status.value for run in found] == ["succeeded"] * 8 + ["failed"]
    assert found[-1].error is not None
    assert "max_event_hops" in found[-1].error.message


async def _record_id(server: Server) -> str:
    [event] = (await server.get("/v1/events"))["data"]
    return str(event["record_id"])

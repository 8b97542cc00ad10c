"""Each verb is committed and its reply is lost, as at a failover: nothing is lost, sent twice or left half done."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.attempt import Outcome
from forebay.domain.change import Want
from forebay.domain.fanout import Branch, FanoutArgs
from forebay.domain.job import Status
from forebay.domain.lane import target_queue
from forebay.domain.order import Order
from forebay.engine.context import UNSENT
from forebay.engine.fanouts import make_fanout
from forebay.engine.handlers.streams import ChunkSink
from forebay.engine.patience import until_stored
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.ports import Clock
from forebay.stores.sqlite import open_store
from forebay.testing.clock import FakeClock
from forebay.testing.conformance.world import OpenedStore
from forebay.testing.doubting import DoubtingJobs
from forebay.testing.system import open_services, scripted_spec
from forebay.testing.targets import ScriptedTarget, answer
from tests.integration.postgres_house import empty_place, opened_at, server

from .conftest import BODY, Engine
from .faulty import all_begun, is_right, is_true, moves_on, until, with_jobs

VERBS = ("add", "begin", "apply", "claim", "settle", "renew", "recover")
LEAVES = 4
TIMES = 2  # in a row
LEASE_SECONDS = 1e6  # fake time runs far ahead of the heartbeat's
Open = Callable[[Clock], Coroutine[Any, Any, OpenedStore]]


async def _sqlite(clock: Clock) -> OpenedStore:
    return await open_store(":memory:", clock=clock)


async def _postgres(clock: Clock) -> OpenedStore:
    return await opened_at(await empty_place(server().url()), clock)


@asynccontextmanager
async def _engine(open_it: Open, folder: Path, target: ScriptedTarget) -> AsyncIterator[tuple[Engine, DoubtingJobs]]:
    """An engine that adds and works through a doubting store."""
    clock = FakeClock()
    opened = await open_it(clock)
    async with open_services(folder, [target], specs=[scripted_spec("t")], clock=clock, store=opened) as services:
        jobs = DoubtingJobs(services.jobs)
        yield Engine(with_jobs(services, jobs), clock), jobs


async def _submit(engine: Engine) -> list[str]:
    """Some requests and a group, as a client that asks again."""
    jobs = engine.services.jobs
    leaves = [await until_stored("add", partial(engine.submit, key=f"leaf {n}")) for n in range(LEAVES)]
    branches = tuple(Branch(name=name, target="t") for name in "ab")
    group = await make_fanout(Order(body=BODY, fanout=FanoutArgs(branches=branches)), engine.services)
    [added] = await until_stored("add", lambda: jobs.add([group]))
    return [*leaves, added.id]


@pytest.mark.parametrize("open_it", [_sqlite, _postgres])
@pytest.mark.parametrize("verbs", [*([verb] for verb in VERBS), VERBS], ids="-".join)
async def test_verbs_whose_replies_are_lost_cost_nothing(verbs: Sequence[str], open_it: Open, tmp_path: Path) -> None:
    target = ScriptedTarget("t")
    async with _engine(open_it, tmp_path, target) as (engine, jobs):
        for verb in verbs:
            jobs.lose(verb, TIMES)
        async with WorkerProcess(engine.services, WorkerOptions(lease_seconds=LEASE_SECONDS)):
            ids = await _submit(engine)
            for job_id in ids:
                await until(partial(moves_on, engine, job_id))
            await until(lambda: is_true(lambda: jobs.lost == dict.fromkeys(verbs, TIMES)))
        assert {(await engine.get(job_id)).status for job_id in ids} == {Status.SUCCEEDED}
        assert {(await engine.get(job_id)).attempts_used for job_id in ids} == {0}
        assert len(target.calls) == LEAVES + 2
        assert await jobs.workers() == []
        await is_right(engine, *ids)


@pytest.mark.parametrize("open_it", [_sqlite, _postgres])
async def test_a_worker_whose_retirement_is_in_doubt_has_handed_all_back(open_it: Open, tmp_path: Path) -> None:
    async with _engine(open_it, tmp_path, ScriptedTarget("t", is_gated=True)) as (engine, jobs):
        job_id = await engine.submit()
        jobs.lose("retire")
        async with WorkerProcess(engine.services, WorkerOptions(lease_seconds=LEASE_SECONDS, drain_seconds=0.0)):
            await all_begun(engine, [job_id])
        assert jobs.lost == {"retire": 1}
        job = await engine.get(job_id)
        assert (job.status, [one.outcome for one in job.attempts]) == (Status.QUEUED, [Outcome.CANCELLED])
        assert await jobs.workers() == []
        await is_right(engine, job_id)


@pytest.mark.parametrize("open_it", [_sqlite, _postgres])
@pytest.mark.parametrize("verb", ["begin", "apply"])
async def test_a_worker_that_ends_while_it_is_in_doubt_leaves_nothing_running(
    verb: str, open_it: Open, tmp_path: Path
) -> None:
    target = ScriptedTarget("t")
    async with _engine(open_it, tmp_path, target) as (engine, jobs):
        job_id = await engine.submit()
        jobs.lose(verb)
        async with WorkerProcess(engine.services, WorkerOptions(lease_seconds=LEASE_SECONDS)):
            await until(lambda: is_true(lambda: bool(jobs.lost)))
        assert (await engine.get(job_id)).status is (Status.SUCCEEDED if verb == "apply" else Status.QUEUED)
        await is_right(engine, job_id)


async def test_a_call_whose_begin_is_in_doubt_is_told_as_never_sent(tmp_path: Path) -> None:
    target = ScriptedTarget("t")
    async with _engine(_sqlite, tmp_path, target) as (engine, jobs):
        job_id = await engine.submit()
        jobs.lose("begin")
        worker = await engine.worker()
        await worker.run_until_idle()
        [attempt] = (await engine.get(job_id)).attempts
        assert (attempt.outcome, attempt.error, target.calls) == (Outcome.CANCELLED, UNSENT, [])
        await until(lambda: _runs(engine, worker, job_id))
        assert [(one.number, one.outcome) for one in (await engine.get(job_id)).attempts] == [
            (1, Outcome.CANCELLED),
            (2, Outcome.SUCCEEDED),
        ]


async def _runs(engine: Engine, worker: WorkerProcess, job_id: str) -> bool:
    await engine.services.jobs.recover()
    await worker.run_until_idle()
    return await moves_on(engine, job_id)


@pytest.mark.parametrize("open_it", [_sqlite, _postgres])
async def test_a_stream_whose_writes_are_in_doubt_has_nothing_twice(open_it: Open, tmp_path: Path) -> None:
    async with _engine(open_it, tmp_path, ScriptedTarget("t")) as (engine, jobs):
        job_id = await engine.submit(is_stream=True)
        jobs.lose("append", TIMES)
        worker = await engine.worker()
        await worker.run_until_idle()
        assert (await engine.get(job_id)).status is Status.SUCCEEDED
        assert jobs.lost == {"append": TIMES}
        assert [chunk.text for chunk in await jobs.read(job_id)] == [f"data: {answer().body.decode()}\n\n"]


async def test_what_comes_while_a_write_of_a_stream_is_in_doubt_stands_behind_it(tmp_path: Path) -> None:
    async with _engine(_sqlite, tmp_path, ScriptedTarget("t")) as (engine, jobs):
        job_id = await engine.submit(is_stream=True)
        worker = await engine.worker()
        [claimed] = await jobs.claim(worker.worker, [Want(queue=target_queue("t"), lane="t", slots=1)])
        sink = ChunkSink(job_id, claimed.fence, engine.services)
        jobs.lose("append")
        await sink.write("one")
        await sink.write("two")
        assert await sink.close()
        assert [chunk.text for chunk in await jobs.read(job_id)] == ["one", "two"]

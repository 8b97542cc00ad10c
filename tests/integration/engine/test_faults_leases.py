"""Leases lost, workers that die, clocks that are set, lanes that close: no job is lost, and none stands still."""

import asyncio
import os
import socket
import subprocess
import sys
import time

import pytest

from forebay.domain.answer import Answer, Done
from forebay.domain.attempt import Outcome
from forebay.domain.change import Renewal, Want, Worker
from forebay.domain.errors import StoreUnavailable, TargetUnavailable
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.job import ErrorCode, Job, Status
from forebay.domain.target import Limits, Route, RouteEntry
from forebay.engine.context import Context
from forebay.engine.heartbeat import Heartbeat
from forebay.engine.suspects import PAUSE_SECONDS, Suspects
from forebay.ports import StreamSink
from forebay.processes import is_gone
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import BODY, OpenEngine
from .faulty import all_begun, is_right, is_true, until


async def test_a_job_claimed_again_while_its_first_run_lets_go_runs_on(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    worker = await engine.worker()
    lets_go, has_let_go, runs = asyncio.Event(), asyncio.Event(), 0

    async def handler(job: Job, context: Context) -> Answer:
        nonlocal runs
        runs += 1
        if runs == 1:
            try:
                await asyncio.Event().wait()
            finally:
                await lets_go.wait()
                has_let_go.set()
        await has_let_go.wait()
        await asyncio.sleep(0)
        return Done()

    worker._runner._handlers = {"infer": handler}
    job_id = await engine.submit()
    await worker.claim_once()
    await until(lambda: is_true(lambda: runs == 1))
    engine.clock.advance(100)
    await engine.services.jobs.recover()
    worker._on_renewal(await engine.services.jobs.renew(worker.worker))
    await engine.services.jobs.renew(worker.worker)
    assert await worker.claim_once() == 1
    lets_go.set()
    await worker.run_until_idle()
    assert ((await engine.get(job_id)).status, runs) == (Status.SUCCEEDED, 2)


async def test_what_a_buried_worker_claims_is_not_taken_by_the_next_sweep(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    worker = await engine.worker(lease_seconds=5)
    engine.clock.advance(60)
    await engine.services.jobs.recover()
    job_id = await engine.submit()
    worker._on_renewal(await engine.services.jobs.renew(worker.worker))
    assert worker.worker.epoch == 1
    assert await worker.claim_once() == 1
    await all_begun(engine, [job_id])
    await engine.services.jobs.recover()
    target.gate.set()
    await worker.run_until_idle()
    job = await engine.get(job_id)
    assert (job.status, job.rescues, len(target.calls)) == (Status.SUCCEEDED, 0, 1)


async def test_a_heartbeat_outlives_errors_and_registers_a_new_epoch_at_once() -> None:
    class Beaten:
        """Fails once in each way, then says that the leases were lost."""

        def __init__(self) -> None:
            self.epochs: list[int] = []
            self.errors: list[Exception] = [StoreUnavailable("away"), RuntimeError("unforeseen")]

        async def renew(self, worker: Worker) -> Renewal:
            if self.errors:
                raise self.errors.pop(0)
            self.epochs.append(worker.epoch)
            return Renewal(is_alive=worker.epoch == 3, epoch=3)

    jobs, told = Beaten(), []
    heartbeat = Heartbeat(jobs, Worker(id="worker_1", lease_seconds=0.03), told.append)  # type: ignore[arg-type]
    heartbeat.start()
    await until(lambda: is_true(lambda: len(told) >= 3))
    await heartbeat.close()
    assert jobs.epochs[:2] == [0, 3]
    assert [renewal.is_alive for renewal in told[:3]] == [False, True, True]


async def test_a_heartbeat_closed_before_its_first_beat_ends() -> None:
    for _ in range(20):
        heartbeat = Heartbeat(None, Worker(id="worker_1"), lambda _: None)  # type: ignore[arg-type]  # never asked
        heartbeat._halt.set()
        heartbeat.start()
        await asyncio.wait_for(heartbeat.close(), 120)


# Suspects


async def test_a_suspect_of_a_closed_lane_holds_nobody_up() -> None:
    suspects = Suspects()
    suspects.stand_in(["target:closed"], 0.0)
    assert not suspects.are_wanted([Want(queue="target:open", lane="open", slots=1)])


async def test_a_suspect_tried_in_vain_is_left_alone_for_a_while() -> None:
    suspects = Suspects()
    wants = [Want(queue="target:t", lane="t", slots=1)]
    suspects.stand_in(["target:t"], 0.0)
    assert suspects.are_wanted(wants)
    suspects.were_tried(is_found=False, now=0.0)
    suspects.stand_in(["target:t"], 1.0)
    assert not suspects.are_wanted(wants)
    suspects.stand_in(["target:t"], PAUSE_SECONDS)
    assert suspects.are_wanted(wants)


class Killing(ScriptedTarget):
    """Never returns from a call with poison in it, as a process that dies in it does not."""

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        if b"poison" in call.body:
            await asyncio.Event().wait()
        return await super().call(call, sink)


async def test_a_poisonous_job_becomes_a_dead_letter_and_none_of_its_neighbours(open_engine: OpenEngine) -> None:
    """Its workers die in mid-call each time; the neighbours' calls are under way beside it."""
    target = Killing("t", is_gated=True)
    engine = await open_engine(target, limits=Limits(concurrency=8))
    poison = await engine.submit(body=BODY.replace("Hello", "poison"))
    neighbours = [await engine.submit() for _ in range(7)]
    for deaths in range(4):
        if deaths == 2:
            target.gate.set()  # from now on all are suspects, and the neighbours answer in their turn
        doomed = await engine.worker(lease_seconds=5)
        doomed._on_recovered(await engine.services.jobs.recover())
        claiming = asyncio.create_task(doomed.claim_once())
        await all_begun(engine, [poison])
        claiming.cancel()
        engine.clock.advance(60)
        await engine.services.jobs.recover()
    last = await engine.worker()
    last._on_recovered(await engine.services.jobs.recover())
    await last.run_until_idle()
    job = await engine.get(poison)
    assert job.error is not None
    assert (job.status, job.error.code, job.lone_rescues) == (Status.FAILED, ErrorCode.POISON, 2)
    assert {(await engine.get(one)).status for one in neighbours} == {Status.SUCCEEDED}


# Clocks and lanes


async def test_a_clock_set_back_stops_neither_lanes_nor_recovery(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [TargetUnavailable("refused")] * 8 + [answer()])
    engine = await open_engine(target, limits=Limits(concurrency=50, requests_per_minute=600))
    dead = await engine.worker(lease_seconds=5)
    jobs = [await engine.submit() for _ in range(3)]
    worker = await engine.worker(lease_seconds=100_000)
    for _ in range(3):
        await worker.run_until_idle()
        engine.clock.advance(30)
    engine.clock.advance(-3600)
    await engine.services.jobs.recover()
    late = await engine.submit()
    for _ in range(20):
        await worker.run_until_idle()
        engine.clock.advance(1)
        await engine.services.jobs.recover()
    assert (await engine.get(late)).status is Status.SUCCEEDED
    assert dead.worker.id not in {one.id for one in await engine.services.jobs.workers() if one.epoch == 0}
    await is_right(engine, *jobs, late)


async def test_a_lane_with_one_slot_finds_work_in_whichever_of_its_queues(open_engine: OpenEngine) -> None:
    routes = tuple(Route(name=f"r{number}", entries=(RouteEntry(target="t"),)) for number in range(4))
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target, limits=Limits(concurrency=1), routes=routes)
    await engine.submit(target=None, body=BODY.replace("t-model", "r3"))
    for _ in range(5):
        worker = await engine.worker()
        claimed = await worker.claim_once()
        assert claimed == 1
        target.gate.set()
        await worker.run_until_idle()
        target.gate.clear()
        await engine.submit(target=None, body=BODY.replace("t-model", "r3"))


async def test_a_route_whose_targets_are_all_away_waits_without_claiming(open_engine: OpenEngine) -> None:
    route = Route(name="r", entries=(RouteEntry(target="a"), RouteEntry(target="b")))
    down, other = ScriptedTarget("a", [TargetUnavailable("x")]), ScriptedTarget("b", [TargetUnavailable("x")])
    engine = await open_engine(down, other, routes=(route,))
    body = BODY.replace("t-model", "r")
    jobs = [await engine.submit(target=None, body=body) for _ in range(20)]
    worker = await engine.worker()
    await asyncio.wait_for(worker.run_until_idle(), 120)
    calls = len(down.calls) + len(other.calls)
    assert calls < 40
    assert await worker.claim_once() == 0
    down._steps = [answer()]
    for _ in range(30):
        engine.clock.advance(10)
        await worker.run_until_idle()
    assert {(await engine.get(one)).status for one in jobs} == {Status.SUCCEEDED}
    await is_right(engine, *jobs)


@pytest.mark.skipif(sys.platform != "linux", reason="a zombie is told by /proc")
def test_a_process_that_has_ended_is_gone_even_before_its_parent_looks() -> None:
    reader, writer = os.pipe()
    child = subprocess.Popen(["/bin/true"], stdout=writer)
    os.close(writer)
    os.read(reader, 1)  # its end of the pipe closes as it ends
    os.close(reader)
    worker = Worker(id="worker_1", host=socket.gethostname(), pid=child.pid, pid_started="")
    while not is_gone(worker):
        time.sleep(0)
    assert child.wait() == 0
    assert not is_gone(Worker(id="worker_2", host=socket.gethostname(), pid=os.getpid()))


async def test_a_stream_cut_by_a_lost_lease_ends_its_attempt(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    worker = await engine.worker(lease_seconds=5)
    job_id = await engine.submit(is_stream=True)
    await worker.claim_once()
    await all_begun(engine, [job_id])
    engine.clock.advance(60)
    await engine.services.jobs.recover()
    target.gate.set()
    await worker.run_until_idle()
    job = await engine.get(job_id)
    assert (job.status, [one.outcome for one in job.attempts]) == (Status.QUEUED, [Outcome.CANCELLED])

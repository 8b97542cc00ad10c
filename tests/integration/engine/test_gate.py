"""Claimed ahead: where concurrency is learned, a few jobs wait for a slot, so that no slot waits for a claim."""

import asyncio

from forebay.domain.errors import TargetThrottled
from forebay.domain.job import Job, Status
from forebay.domain.target import Limits
from forebay.engine.lanes import Lane
from forebay.engine.worker import WorkerProcess
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import Engine, OpenEngine

LEARNED = Limits(requests_per_minute=None)
FIRST_SLOTS, AHEAD = 4, 2


def _slow_claims(worker: WorkerProcess) -> Lane:
    """Its store is as slow as the model: calls end while a claim is under way."""
    worker.lanes.claims.took(5.0)
    return worker.lanes.by_name["t"]


async def _jobs(engine: Engine, ids: list[str]) -> list[Job]:
    return [await engine.get(job_id) for job_id in ids]


async def _full(worker: WorkerProcess) -> Lane:
    """Claims until as many run as may, and as many wait as may."""
    lane = _slow_claims(worker)
    assert [await worker.claim_once() for _ in range(3)] == [FIRST_SLOTS, AHEAD, 0]
    assert lane.gate is not None
    assert (lane.in_flight, len(lane.gate)) == (FIRST_SLOTS, AHEAD)
    return lane


async def test_a_waiting_job_begins_when_a_slot_is_free(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target, limits=LEARNED)
    ids = [await engine.submit() for _ in range(10)]
    worker = await engine.worker()
    lane = await _full(worker)
    await target.entered.wait()
    assert len(target.calls) == FIRST_SLOTS
    target.gate.set()
    await worker.run_until_idle()
    jobs = await _jobs(engine, ids)
    assert {(job.status, len(job.attempts)) for job in jobs} == {(Status.SUCCEEDED, 1)}
    assert (lane.in_flight, len(lane.gate or ())) == (0, 0)


async def test_nothing_is_claimed_ahead_where_the_concurrency_is_configured(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t", is_gated=True), limits=Limits(concurrency=4))
    for _ in range(10):
        await engine.submit()
    worker = await engine.worker()
    _slow_claims(worker)
    assert [await worker.claim_once() for _ in range(2)] == [4, 0]


async def test_what_waits_is_handed_back_unharmed_by_a_drain(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target, limits=LEARNED)
    ids = [await engine.submit() for _ in range(10)]
    worker = await engine.worker(drain_seconds=0.01)
    lane = _slow_claims(worker)
    async with worker:
        while len(lane.gate or ()) < AHEAD:
            await asyncio.sleep(0)
        await target.entered.wait()
    jobs = await _jobs(engine, ids)
    assert {(job.status, job.rescues, job.attempts_used) for job in jobs} == {(Status.QUEUED, 0, 0)}
    assert sum(len(job.attempts) for job in jobs) == len(target.calls) == FIRST_SLOTS


async def test_what_waits_goes_back_when_the_target_wants_a_long_pause(open_engine: OpenEngine) -> None:
    throttled = TargetThrottled("too many", status_code=429, retry_after=20.0)
    target = ScriptedTarget("t", [*[throttled] * FIRST_SLOTS, answer()], is_gated=True)
    engine = await open_engine(target, limits=LEARNED)
    ids = [await engine.submit() for _ in range(FIRST_SLOTS + AHEAD)]
    worker = await engine.worker()
    lane = await _full(worker)
    await target.entered.wait()
    target.gate.set()
    await worker.run_until_idle()
    jobs = await _jobs(engine, ids)
    assert {job.status for job in jobs} == {Status.QUEUED}
    assert sum(len(job.attempts) for job in jobs) == len(target.calls) == FIRST_SLOTS
    assert (lane.in_flight, len(lane.gate or ())) == (0, 0)


async def test_a_job_that_is_cancelled_as_it_waits_leaves_its_place(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target, limits=LEARNED)
    ids = [await engine.submit() for _ in range(FIRST_SLOTS + AHEAD)]
    worker = await engine.worker()
    lane = await _full(worker)
    await target.entered.wait()
    called = {call.job_id for call in target.calls}
    [waiting, _] = [job_id for job_id in ids if job_id not in called]
    await engine.services.jobs.cancel("default", [waiting])
    renewal = await engine.services.jobs.renew(worker.worker)
    worker._on_renewal(renewal)  # as the heartbeat's thread tells it
    target.gate.set()
    await worker.run_until_idle()
    jobs = {job.id: job for job in await _jobs(engine, ids)}
    assert (jobs[waiting].status, jobs[waiting].attempts) == (Status.CANCELLED, ())
    assert [job.status for job in jobs.values()].count(Status.SUCCEEDED) == FIRST_SLOTS + AHEAD - 1
    assert (lane.in_flight, len(lane.gate or ())) == (0, 0)

"""The engine when the store fails under it, or a handler in it."""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from forebay.domain.answer import Answer
from forebay.domain.attempt import Outcome
from forebay.domain.change import Change, Claimed, Verdict
from forebay.domain.errors import StoreDamaged, StoreUnavailable
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.job import ErrorCode, Job, Status
from forebay.engine import patience
from forebay.engine.context import Context
from forebay.engine.finisher import Finisher
from forebay.engine.handlers.streams import CHUNK_BYTES
from forebay.engine.slots import Slots
from forebay.engine.stopping import stopped
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.ports import StreamSink
from forebay.stores.sqlite import open_store
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import Engine, OpenEngine
from .faulty import claimed_job, faulty, is_right, is_true, moves_on, until, with_jobs


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "STORE_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("forebay.engine.worker.STORE_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("forebay.engine.worker.POLL_SECONDS", 0.05)
    monkeypatch.setattr("forebay.engine.stopping.CANCEL_SECONDS", 0.1)


# The store is away


@pytest.mark.parametrize("verb", ["claim", "begin", "apply", "settle", "recover"])
async def test_a_verb_that_fails_for_a_while_costs_no_job_anything(open_engine: OpenEngine, verb: str) -> None:
    target = ScriptedTarget("t")
    engine = await open_engine(target)
    jobs, worker = await faulty(engine)
    jobs.fail(verb, StoreUnavailable("away"), StoreUnavailable("still away"))
    job_id = await engine.submit()
    async with worker:
        await until(lambda: moves_on(engine, job_id))
        job = await engine.get(job_id)
    assert (job.status, job.attempts_used, len(target.calls)) == (Status.SUCCEEDED, 0, 1)
    await is_right(engine, job_id)


async def test_an_answer_waits_for_a_store_that_is_away_and_is_not_asked_for_again(open_engine: OpenEngine) -> None:
    large = answer("x" * 100_000)  # kept as a blob
    target = ScriptedTarget("t", [large])
    engine = await open_engine(target)
    writes, real = 0, engine.services.blobs.write

    async def write(chunks: Any) -> Any:
        nonlocal writes
        writes += 1
        if writes == 1:
            raise StoreUnavailable("the disk is full")
        return await real(chunks)

    engine.services.blobs.write = write  # type: ignore[method-assign]  # one call of a real store fails
    job_id = await engine.submit()
    await (await engine.worker()).run_until_idle()
    job = await engine.get(job_id)
    assert (job.status, len(target.calls), writes) == (Status.SUCCEEDED, 1, 2)


async def test_a_store_that_is_away_for_good_does_not_hold_up_a_drain(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.engine.worker.FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(patience, "STORE_PAUSE_SECONDS", 0.01)
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    jobs, worker = await faulty(engine, drain_seconds=0.05)
    job_id = await engine.submit()
    async with asyncio.timeout(120), worker:
        await target.entered.wait()
        jobs.fail("apply", *[StoreUnavailable("away") for _ in range(1000)])
        target.gate.set()
    assert worker._finisher.waiting == 1
    job = await engine.get(job_id)
    assert job.status is Status.RUNNING, "its lease is freed when the process is gone"


async def test_a_store_locked_beyond_its_time_out_costs_no_call(open_engine: OpenEngine, tmp_path: Path) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    store = await open_store(tmp_path / "forebay.db", clock=engine.clock, busy_timeout_seconds=0.05)
    try:
        engine.services = with_jobs(engine.services, store.jobs)
        worker = WorkerProcess(engine.services, WorkerOptions())
        holder = apsw.Connection(str(tmp_path / "forebay.db"))
        async with worker:
            job_id = await engine.submit()
            await target.entered.wait()
            holder.execute("BEGIN IMMEDIATE")
            target.gate.set()
            with pytest.raises(StoreUnavailable, match="nothing was acknowledged"):
                await engine.submit()
            await until(lambda: is_true(lambda: worker._finisher.waiting == 1))
            assert (await engine.get(job_id)).status is Status.RUNNING, "it is still read"
            holder.execute("ROLLBACK")
            holder.close()
            await worker._finisher.flushed()
        job = await engine.get(job_id)
        assert (job.status, len(job.attempts), len(target.calls)) == (Status.SUCCEEDED, 1, 1)
    finally:
        await store.close()


async def test_a_change_that_the_store_refuses_ends_its_job_alone() -> None:
    class Refusing:
        """Takes everything but the answer of job 2."""

        def __init__(self) -> None:
            self.applied: list[Change] = []

        async def apply(self, changes: Sequence[Change]) -> list[Verdict]:
            if any(change.job_id == "2" and change.status is Status.SUCCEEDED for change in changes):
                raise ValueError("no such column")
            self.applied.extend(changes)
            return [Verdict.APPLIED] * len(changes)

        async def settle(self, job_ids: Collection[str]) -> list[str]:
            return []

    jobs = Refusing()
    finisher = Finisher(jobs)  # type: ignore[arg-type]  # the two verbs that it uses
    for number in "123":
        finisher.put(Change(job_id=number, fence=int(number), status=Status.SUCCEEDED))
    await finisher.flush()
    await finisher.flushed()
    assert [(change.job_id, change.status) for change in jobs.applied] == [
        ("1", Status.SUCCEEDED),
        ("2", Status.FAILED),
        ("3", Status.SUCCEEDED),
    ]


async def test_damage_is_not_waited_for(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    jobs, worker = await faulty(engine)
    jobs.fail("apply", StoreDamaged("page 7"), StoreDamaged("page 7"))
    job_id = await engine.submit()
    await asyncio.wait_for(worker.run_until_idle(), 120)
    job = await engine.get(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, ErrorCode.INTERNAL)


async def test_a_flush_that_is_broken_off_loses_no_answer(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    jobs, worker = await faulty(engine)
    jobs.hold("apply")
    finisher: Finisher = worker._finisher
    job_id = await engine.submit()
    await worker.claim_once()
    await until(lambda: is_true(lambda: finisher.waiting == 1))
    flushing = asyncio.create_task(finisher.flush())
    await jobs.waiting.wait()
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    assert finisher.waiting == 1
    jobs.gates["apply"].set()
    await finisher.flush()
    assert finisher.waiting == 0
    assert (await engine.get(job_id)).status is Status.SUCCEEDED


# Claims, stops and drains


async def test_a_claim_broken_off_by_a_drain_is_handed_back_while_calls_still_run(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    jobs, worker = await faulty(engine)
    async with worker:
        running = await engine.submit()
        await target.entered.wait()
        gate = jobs.hold("claim")
        jobs.waiting.clear()
        claimed = await engine.submit()
        await until(lambda: is_running(engine, claimed))
        draining = asyncio.create_task(worker.drain())
        await asyncio.sleep(0)
        gate.set()
        await until(lambda: is_queued(engine, claimed))
        assert not draining.done()
        target.gate.set()
        await draining
    job = await engine.get(claimed)
    assert (job.status, job.rescues, job.attempts, len(target.calls)) == (Status.QUEUED, 0, (), 1)
    assert (await engine.get(running)).status is Status.SUCCEEDED


async def test_a_drain_hands_back_what_a_claim_brings_at_its_very_end(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    jobs, worker = await faulty(engine)
    async with worker:
        gate = jobs.hold("claim")
        job_id = await engine.submit()
        await until(lambda: is_running(engine, job_id))
        close = worker._slots.close

        async def close_and_let_the_claim_end() -> int:
            left = await close()
            gate.set()
            return left

        monkeypatch.setattr(worker._slots, "close", close_and_let_the_claim_end)
        await worker.drain()
        assert worker._finisher.waiting == 0
    assert await engine.services.jobs.workers() == [], "it has retired"
    assert (await engine.get(job_id)).status is Status.QUEUED


async def test_a_begin_broken_off_leaves_no_attempt_running(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t")
    engine = await open_engine(target)
    jobs, worker = await faulty(engine, drain_seconds=0.01)
    jobs.hold("begin")
    job_id = await engine.submit()
    async with worker:
        await jobs.waiting.wait()
    job = await engine.get(job_id)
    assert [one.outcome for one in job.attempts] == [Outcome.CANCELLED]
    assert (job.status, target.calls) == (Status.QUEUED, [])
    await is_right(engine, job_id)


async def test_a_stopped_job_that_keeps_its_call_does_not_hold_up_a_drain(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    async with asyncio.timeout(120), await engine.worker(drain_seconds=0.01, lease_seconds=0.3) as worker:
        job_id = await engine.submit(keep_call=True)
        await target.entered.wait()
        await engine.services.jobs.cancel("default", [job_id])
        context = next(iter(worker._runner._running.values()))[0]
        await until(lambda: is_true(lambda: context.is_stopping))
    assert (await engine.get(job_id)).status is Status.CANCELLED
    await is_right(engine, job_id)


async def test_a_slot_outlives_a_run_that_raises_and_a_close_outlives_a_run_that_swallows() -> None:
    seen: list[int] = []
    release = asyncio.Event()

    async def run(claimed: Claimed, _: asyncio.Task[None]) -> None:
        seen.append(claimed.fence)
        if claimed.fence == 1:
            raise ValueError("unforeseen")
        if claimed.fence == 3:
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    ended: list[Claimed] = []
    slots = Slots(run, ended.append)
    for fence in (1, 2, 3):
        slots.dispatch(claimed_job(fence))
        if fence < 3:
            await slots.emptied.wait()
    await asyncio.sleep(0)
    await asyncio.wait_for(slots.close(), 120)
    assert (seen, [one.fence for one in ended], slots.busy) == ([1, 2, 3], [1, 2, 3], 0)


async def test_two_drains_at_once_both_return_when_it_is_done(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    async with await engine.worker() as worker:
        await engine.submit()
        await target.entered.wait()
        first, second = asyncio.create_task(worker.drain()), asyncio.create_task(worker.drain())
        await asyncio.wait([second], timeout=0.05)
        assert not second.done()
        target.gate.set()
        await asyncio.gather(first, second)
    assert await engine.services.jobs.workers() == []


# Handlers that fail


async def test_a_job_of_an_unknown_kind_waits_for_a_worker_that_knows_it(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    now = engine.clock.now()
    job = Job(id="job_new", kind="of_tomorrow", queue="control", created_at=now, deadline=now + 3600, due_at=now)
    await engine.services.jobs.add([job])
    worker = await engine.worker()
    for _ in range(10):
        await worker.run_until_idle()
        engine.clock.advance(100)
    job = await engine.get("job_new")
    assert (job.status, job.attempts_used) == (Status.QUEUED, 0)


@pytest.mark.parametrize(("error", "used"), [(OSError(24, "Too many open files"), 0), (ValueError("a slip"), 1)])
async def test_what_a_handler_raises_counts_only_if_it_is_the_jobs_fault(
    open_engine: OpenEngine, error: Exception, used: int
) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    job_id = await engine.submit()
    worker = await engine.worker()

    async def handler(job: Job, context: Context) -> Answer:
        raise error

    worker._runner._handlers = {"infer": handler}
    await worker.run_until_idle()
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used) == (Status.QUEUED, used)


async def test_an_answer_that_can_t_be_decided_keeps_no_lease(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    job_id = await engine.submit()
    worker = await engine.worker()

    async def handler(job: Job, context: Context) -> Answer:
        return "not an answer"  # type: ignore[return-value]  # what a plug-in may do

    worker._runner._handlers = {"infer": handler}
    await worker.run_until_idle()
    assert (await engine.get(job_id)).status is Status.QUEUED


# Streams


class Speaking(ScriptedTarget):
    """Streams ten events, each in a write of its own."""

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        assert sink is not None
        for number in range(10):
            await sink.write(f"data: {number}{'.' * CHUNK_BYTES}\n\n")
        return await super().call(call)


async def test_a_stream_has_no_gap_and_no_repeat_when_the_store_is_away_meanwhile(open_engine: OpenEngine) -> None:
    engine = await open_engine(Speaking("t"))
    jobs, worker = await faulty(engine)
    jobs.fail("append", *[StoreUnavailable("away") for _ in range(4)])
    job_id = await engine.submit(is_stream=True)
    await worker.run_until_idle()
    text = "".join(chunk.text for chunk in await engine.services.jobs.read(job_id))
    assert [event[6:7] for event in text.split("\n\n") if event] == [str(number) for number in range(10)]
    assert (await engine.get(job_id)).status is Status.SUCCEEDED


# Ends


async def test_a_drain_ends_although_a_wake_comes_with_it(open_engine: OpenEngine) -> None:
    """In Python 3.11 a wait_for whose event is set in the same turn swallows the cancellation."""
    engine = await open_engine(ScriptedTarget("t"))
    for _ in range(20):
        worker = await engine.worker()
        async with worker:
            await asyncio.sleep(0.002)
            worker._wake.set()
            await asyncio.wait_for(worker.drain(), 120)
        assert worker._claiming.cancelled()


async def test_a_task_that_swallows_its_cancellation_is_asked_again() -> None:
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    assert await stopped([task]) == 0
    assert task.cancelled()


async def is_running(engine: Engine, job_id: str) -> bool:
    return (await engine.get(job_id)).status is Status.RUNNING


async def is_queued(engine: Engine, job_id: str) -> bool:
    return (await engine.get(job_id)).status is Status.QUEUED

"""The worker: what it claims, and what becomes of work when it, its targets or its jobs are asked to stop."""

import asyncio

import msgspec

from forebay.domain.attempt import Outcome
from forebay.domain.errors import TargetThrottled, TargetUnavailable
from forebay.domain.job import ErrorCode, OnUnknown, Status
from forebay.domain.target import Limits, Route, RouteEntry
from forebay.engine.services import Services
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import BODY, OpenEngine

ROUTE = Route(name="summariser", entries=(RouteEntry(target="a"), RouteEntry(target="b")))
ROUTED = BODY.replace("t-model", "summariser")


async def ended(services: Services, job_id: str) -> Status:
    """Waits by hint until the job has ended."""
    watch = services.jobs.watch([f"job:{job_id}"])
    try:
        while True:
            [job] = await services.jobs.get(None, [job_id])
            assert job is not None
            if job.is_terminal:
                return job.status
            assert await watch.next(30)
    finally:
        watch.close()


async def test_a_started_worker_runs_what_is_submitted_without_being_asked(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    async with await engine.worker():
        job_id = await engine.submit()
        assert await ended(engine.services, job_id) is Status.SUCCEEDED


async def test_a_lane_never_has_more_calls_than_its_concurrency(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target, limits=Limits(concurrency=3))
    for _ in range(10):
        await engine.submit()
    first, second = await engine.worker(), await engine.worker()
    assert await first.claim_once() + await second.claim_once() == 3
    target.gate.set()
    await first.run_until_idle()
    await second.run_until_idle()
    await first.run_until_idle()
    assert len(target.calls) == 10


async def test_a_full_lane_blocks_no_other(open_engine: OpenEngine) -> None:
    stuck, free = ScriptedTarget("a", is_gated=True), ScriptedTarget("b")
    engine = await open_engine(stuck, free, limits=Limits(concurrency=1))
    async with await engine.worker(drain_seconds=0.01):
        for _ in range(3):
            await engine.submit(target="a")
        await stuck.entered.wait()
        job_id = await engine.submit(target="b")
        assert await ended(engine.services, job_id) is Status.SUCCEEDED
        assert len(stuck.calls) == 1


async def test_a_route_takes_its_first_target_and_rewrites_the_model_alone(open_engine: OpenEngine) -> None:
    first, second = ScriptedTarget("a"), ScriptedTarget("b")
    engine = await open_engine(first, second, routes=(ROUTE,))
    await engine.submit(target=None, body=ROUTED)
    await (await engine.worker()).run_until_idle()
    assert [call.body.decode() for call in first.calls] == [BODY.replace("t-model", "a-model")]
    assert second.calls == []


async def test_a_route_fails_over_when_its_first_target_is_down(open_engine: OpenEngine) -> None:
    down, up = ScriptedTarget("a", [TargetUnavailable("refused")]), ScriptedTarget("b")
    engine = await open_engine(down, up, routes=(ROUTE,))
    jobs = [await engine.submit(target=None, body=ROUTED) for _ in range(8)]
    worker = await engine.worker()
    for _ in range(6):
        await worker.run_until_idle()
        engine.clock.advance(0.9)
    assert up.calls
    for job_id in jobs:
        job = await engine.get(job_id)
        assert (job.status, job.attempts_used) == (Status.SUCCEEDED, 0)


async def test_a_route_fails_over_when_its_first_target_is_throttled_for_long(open_engine: OpenEngine) -> None:
    throttled = ScriptedTarget("a", [TargetThrottled("429", status_code=429, retry_after=30)])
    up = ScriptedTarget("b")
    engine = await open_engine(throttled, up, routes=(ROUTE,))
    first = await engine.submit(target=None, body=ROUTED)
    worker = await engine.worker()
    await worker.run_until_idle()
    second = await engine.submit(target=None, body=ROUTED)
    await worker.run_until_idle()
    assert (await engine.get(second)).status is Status.SUCCEEDED
    assert (await engine.get(first)).status is Status.QUEUED
    assert len(throttled.calls) == 1


async def test_requests_a_minute_are_kept_and_the_rest_waits(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t")
    engine = await open_engine(target, limits=Limits(concurrency=50, requests_per_minute=60))
    for _ in range(30):
        await engine.submit()
    worker = await engine.worker()
    await worker.run_until_idle()
    at_once = len(target.calls)
    assert at_once <= 2
    for _ in range(20):
        engine.clock.advance(0.5)
        await worker.run_until_idle()
    assert at_once + 8 <= len(target.calls) <= at_once + 11


async def test_tokens_a_minute_are_kept_and_corrected_by_what_calls_really_used(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t")  # uses 5 tokens a call; a request is estimated at some 1,040
    engine = await open_engine(target, limits=Limits(concurrency=50, tokens_per_minute=6_000))
    for _ in range(40):
        await engine.submit()
    worker = await engine.worker()
    await worker.run_until_idle()
    first = len(target.calls)
    assert first < 40
    for _ in range(60):
        engine.clock.advance(1)
        await worker.run_until_idle()
    assert len(target.calls) == 40, "40 calls of 5 tokens are far below 6,000 a minute"


async def test_cancelling_a_running_job_breaks_its_call_off(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    async with await engine.worker(lease_seconds=0.3):
        job_id = await engine.submit()
        await target.entered.wait()
        await engine.services.jobs.cancel("default", [job_id])
        assert await ended(engine.services, job_id) is Status.CANCELLED
    job = await engine.get(job_id)
    assert target.broken_off == 1
    assert job.attempts[0].outcome is Outcome.CANCELLED


async def test_a_drain_lets_running_calls_finish(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    worker = await engine.worker()
    async with worker:
        job_id = await engine.submit()
        await target.entered.wait()
        draining = asyncio.create_task(worker.drain())
        waiting = await engine.submit()
        target.gate.set()
        await draining
    assert (await engine.get(job_id)).status is Status.SUCCEEDED
    assert (await engine.get(waiting)).status is Status.QUEUED


async def test_a_drain_past_its_limit_hands_jobs_back_unharmed(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    async with await engine.worker(drain_seconds=0.01):
        job_id = await engine.submit()
        await target.entered.wait()
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used, job.rescues) == (Status.QUEUED, 0, 0)
    assert job.attempts[0].outcome is Outcome.CANCELLED
    target.gate.set()
    await (await engine.worker()).run_until_idle()
    assert (await engine.get(job_id)).status is Status.SUCCEEDED


async def test_a_dead_workers_call_is_unknown_and_sent_again_or_held_as_asked(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", is_gated=True)
    engine = await open_engine(target)
    again = await engine.submit()
    held = await engine.submit(on_unknown=OnUnknown.HOLD)
    dead = await engine.worker(lease_seconds=5)
    assert await dead.claim_once() == 2
    while len(target.calls) < 2:
        await asyncio.sleep(0)
    engine.clock.advance(60)
    await engine.services.jobs.recover()
    target.gate.set()
    await (await engine.worker()).run_until_idle()
    job, other = await engine.get(again), await engine.get(held)
    assert job.status is Status.SUCCEEDED
    assert [one.outcome for one in job.attempts] == [Outcome.UNKNOWN, Outcome.SUCCEEDED]
    assert other.error is not None
    assert (other.status, other.error.code) == (Status.FAILED, ErrorCode.OUTCOME_UNKNOWN)


async def test_a_late_answer_changes_no_job_but_stands_in_the_ledger(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [answer("late"), answer("right")], is_gated=True)
    engine = await open_engine(target)
    job_id = await engine.submit()
    stale = await engine.worker(lease_seconds=5)
    await stale.claim_once()
    await target.entered.wait()
    while not (await engine.get(job_id)).attempts:
        await asyncio.sleep(0)
    engine.clock.advance(60)
    await engine.services.jobs.recover()
    claimer = await engine.worker()
    await claimer.claim_once()
    target.gate.set()
    await stale.run_until_idle()
    await claimer.run_until_idle()
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED
    assert job.result is not None
    assert msgspec.json.decode(job.result.body.text or "") is not None
    assert [one.outcome for one in job.attempts] == [Outcome.SUCCEEDED, Outcome.SUCCEEDED]


async def test_a_streamed_answer_is_durable_in_chunks(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    job_id = await engine.submit(is_stream=True)
    await (await engine.worker()).run_until_idle()
    chunks = await engine.services.jobs.read(job_id)
    assert "".join(chunk.text for chunk in chunks).startswith("data: {")
    assert (await engine.get(job_id)).status is Status.SUCCEEDED


async def test_a_job_with_a_budget_and_no_known_price_is_refused(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t")
    engine = await open_engine(target)
    job_id = await engine.submit(budget_usd=1.0)
    await (await engine.worker()).run_until_idle()
    job = await engine.get(job_id)
    assert job.error is not None
    assert (job.status, job.error.code, target.calls) == (Status.FAILED, "price_unknown", [])

"""Slow targets: what is accepted is polled, submitted once, and holds nothing between two polls."""

import asyncio

from forebay.domain.attempt import Outcome
from forebay.domain.errors import RemoteFailed, TargetError, TargetFailed, TargetTimeout, TargetUnavailable
from forebay.domain.job import Status
from forebay.testing.targets import ScriptedTarget, answer, pending

from .conftest import Engine, OpenEngine

STATE = '{"id":"remote-1"}'


async def _step(engine: Engine, seconds: float = 0.0) -> None:
    """Lets time pass, and runs what is due then."""
    engine.clock.advance(seconds)
    await engine.services.jobs.recover()
    worker = await engine.worker()
    await asyncio.wait_for(worker.run_until_idle(), 120)
    await engine.services.jobs.retire(worker.worker)


def _submissions(target: ScriptedTarget) -> int:
    return sum(call.pending is None for call in target.calls)


async def test_what_is_accepted_is_polled_with_its_state_and_is_one_attempt(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [pending(STATE), pending(STATE, progress=0.5), answer("done")])
    engine = await open_engine(target)
    job_id = await engine.submit()
    await _step(engine)
    job = await engine.get(job_id)
    assert (job.status, job.attempts[0].outcome, job.due_at) == (Status.QUEUED, Outcome.RUNNING, engine.clock.now() + 5)
    await _step(engine, 5)
    assert (await engine.get(job_id)).status is Status.QUEUED
    await _step(engine, 5)
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED
    [attempt] = job.attempts
    assert (attempt.outcome, attempt.cost_usd, job.attempt_count, job.attempts_used) == (Outcome.SUCCEEDED, 0.5, 1, 0)
    assert (attempt.finished_at or 0) - attempt.started_at == 10
    assert job.cost_usd == 0.5
    assert [call.pending for call in target.calls] == [None, STATE, STATE]
    assert {call.attempt for call in target.calls} == {1}
    assert {call.idempotency_key for call in target.calls} == {job_id}


async def test_work_that_failed_at_once_is_submitted_under_another_key_with_what_the_target_said(
    open_engine: OpenEngine,
) -> None:
    target = ScriptedTarget("t", [RemoteFailed("it failed", body=b'{"why": "x"}')])
    engine = await open_engine(target)
    job_id = await engine.submit(max_attempts=2)
    await _step(engine)
    await _step(engine, 60)
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used) == (Status.FAILED, 2)
    assert [call.idempotency_key for call in target.calls] == [job_id, f"{job_id}.1"]
    assert job.result is not None
    assert (job.result.status_code, job.result.body.text) == (None, '{"why": "x"}')


async def test_a_poll_that_fails_in_passing_is_asked_again_and_uses_no_attempt(open_engine: OpenEngine) -> None:
    faults: list[TargetError] = [TargetUnavailable("away"), TargetTimeout("slow"), TargetFailed("500", status_code=500)]
    target = ScriptedTarget("t", [pending(STATE), *faults, answer("done")])
    engine = await open_engine(target)
    job_id = await engine.submit(max_attempts=1)
    for _ in range(6):
        await _step(engine, 60)
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used, len(job.attempts)) == (Status.SUCCEEDED, 0, 1)
    assert _submissions(target) == 1


async def test_work_that_failed_there_is_submitted_anew_and_counted(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [pending(STATE), RemoteFailed("it broke"), pending('{"id":2}'), answer("done")])
    engine = await open_engine(target)
    job_id = await engine.submit()
    for _ in range(6):
        await _step(engine, 60)
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used) == (Status.SUCCEEDED, 1)
    assert [attempt.outcome for attempt in job.attempts] == [Outcome.UNAVAILABLE, Outcome.SUCCEEDED]
    assert [call.pending for call in target.calls] == [None, STATE, None, '{"id":2}']
    assert [call.idempotency_key for call in target.calls] == [job_id, job_id, f"{job_id}.1", f"{job_id}.1"]

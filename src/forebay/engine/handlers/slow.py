"""Slow targets: what an ``infer`` job does between its submission and the end of its work elsewhere.

One attempt a submission: it stands as running in the ledger, under the lease that began it, until the work ends. A poll
is no attempt; a worker that dies in one leaves nothing in doubt. Between polls the job is queued and holds nothing.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
from msgspec.structs import replace

from forebay.domain.answer import Answer, Failed, Retry, Snooze
from forebay.domain.errors import RemoteFailed, TargetError, TargetRejected, VersionConflict
from forebay.domain.inference import Call, InferenceResult, Pending
from forebay.domain.job import Job
from forebay.domain.pending import PENDING, InferCursor, Submission, encoded, record_id, submission_of
from forebay.domain.stored import StoredRecord
from forebay.engine.patience import until_stored
from forebay.engine.services import Services
from forebay.policy.backoff import delay_seconds

SHORTEST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 3_600.0
STOP_SECONDS = 2.0
TELLING_SECONDS = 86_400.0  # after the deadline: so long a remote end is told that its work is not wanted any more


def idempotency_key(job: Job, cursor: InferCursor) -> str:
    """By which the remote end may know a submission that is sent again because nobody knows what came of it.

    The deadline tells a job's lives apart: one that was retried after its end is new work, also there.
    """
    key = f"{job.id}.{round(job.deadline * 1000)}"
    return f"{key}.{cursor.rounds}" if cursor.rounds else key


async def known_submission(job: Job, cursor: InferCursor, services: Services) -> InferCursor:
    """The cursor; with the last submission if a worker died between its answer and the commit of it."""
    if cursor.pending is not None or not job.rescues or not job.attempt_count:
        return cursor
    record = await services.records.get(job.tenant, PENDING, record_id(job.id, job.attempt_count))
    return cursor if record is None else replace(cursor, pending=submission_of(record))


async def submitted(
    job: Job, submission: Submission, pending: Pending, cursor: InferCursor, services: Services
) -> Snooze:
    """The answer to a submission that was accepted: what is known of it is durable before."""
    known = replace(submission, state=pending.state, progress=pending.progress)
    await _although_stopped(until_stored("pending", lambda: _keep(job, known, services)))
    return _later(pending, known, cursor)


async def asked(job: Job, call: Call, cursor: InferCursor, services: Services) -> InferenceResult | Snooze:
    """How the work stands: its result, or when to ask again. Raises: a TargetError."""
    known = cursor.pending
    assert known is not None, "only what was submitted is asked for"  # noqa: S101 - for the type checker
    target = services.targets.get(known.target)
    if target is None:
        raise RemoteFailed(f"target {known.target!r}, which had accepted the work, is not configured any more")
    result = await target.call(replace(call, attempt=known.number, model=known.model, pending=known.state))
    if result.pending is None:
        return result
    told = result.pending
    if told.state != known.state:
        known = replace(known, state=told.state)
        await until_stored("pending", lambda: _keep(job, known, services))
    progress = known.progress if told.progress is None else told.progress
    return _later(told, replace(known, progress=progress, failures=0), cursor)


def is_passing(error: TargetError) -> bool:
    """Whether a poll that failed so says nothing of the work."""
    return not isinstance(error, RemoteFailed | TargetRejected)


def again(error: TargetError, cursor: InferCursor, services: Services) -> Snooze:
    """The answer to a poll that failed in passing: it is asked again, after longer and longer pauses."""
    known = cursor.pending
    assert known is not None, "it was polled"  # noqa: S101 - for the type checker
    failures = known.failures + 1
    pause = delay_seconds(failures, services.chance, retry_after=error.retry_after)
    later = replace(cursor, version=2, pending=replace(known, failures=failures))
    return Snooze(after_seconds=min(pause, LONGEST_PAUSE_SECONDS), progress=encoded(later))


async def forget(job: Job, number: int, services: Services) -> bool:
    """Deletes what is kept for the withdrawal. True once: who has it settles what was reserved."""
    return await services.records.delete(job.tenant, PENDING, record_id(job.id, number))


def ended(answer: Answer, cursor: InferCursor) -> Answer:
    """The answer to work that has ended: the job is not asked for it again."""
    match answer:
        case Retry():
            said = cursor if answer.progress is None else msgspec.json.decode(answer.progress, type=InferCursor)
            return replace(answer, progress=encoded(replace(said, version=2, pending=None, rounds=cursor.rounds + 1)))
        case Failed():
            return replace(answer, progress=encoded(replace(cursor, pending=None)))
    return answer


def _later(told: Pending, known: Submission, cursor: InferCursor) -> Snooze:
    pause = min(max(told.after_seconds, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
    return Snooze(after_seconds=pause, progress=encoded(replace(cursor, version=2, pending=known)))


async def _although_stopped(step: Coroutine[Any, Any, None]) -> None:
    """Ends the step although the job or its worker is stopped in this moment, if that takes no time: what a target has
    just accepted would be submitted once more else, or nobody could tell that it is not wanted.
    """
    storing = asyncio.ensure_future(step)
    try:
        await asyncio.shield(storing)
    except asyncio.CancelledError:
        done, _ = await asyncio.wait({storing}, timeout=STOP_SECONDS)
        if not done:
            storing.cancel()
            raise
        storing.result()
        task: asyncio.Task[Any] | None = asyncio.current_task()
        if task is not None:
            task.uncancel()


async def _keep(job: Job, submission: Submission, services: Services) -> None:
    """Writes the stored record, over the one that is there."""
    record = StoredRecord(
        kind=PENDING,
        id=record_id(job.id, submission.number),
        tenant=job.tenant,
        data=msgspec.json.encode(submission).decode(),
        created_at=services.clock.now(),
        expires_at=job.deadline + TELLING_SECONDS,
    )
    while True:
        there = await services.records.get(job.tenant, PENDING, record.id)
        try:
            await services.records.put(replace(record, version=there.version if there else 0))
        except VersionConflict:  # written between: by a worker that has lost the lease
            continue
        return

"""``decide``: what an answer does to its job. Pure: the same answer at the same time is the same Change."""

import random
from collections.abc import Sequence
from functools import partial
from typing import assert_never

from msgspec.structs import replace

from forebay.domain.answer import Answer, Done, Failed, Retry, Snooze, Spawn
from forebay.domain.attempt import Attempt, Outcome, Usage, summed, summed_usd
from forebay.domain.change import Change, Claimed
from forebay.domain.job import Ending, ErrorCode, Job, JobError, Status
from forebay.policy.backoff import delay_seconds


def decide(
    claimed: Claimed, answer: Answer, attempts: Sequence[Attempt], *, now: float, chance: random.Random
) -> Change:
    """Turns a handler's answer, and the attempts it completed, into the Change that the store applies."""
    usage, cost = _sums(attempts)
    if isinstance(answer, Done):  # most answers
        return Change(
            job_id=claimed.job.id,
            fence=claimed.fence,
            parent_id=claimed.job.parent_id,
            status=Status.SUCCEEDED,
            result=answer.result,
            taking=answer.taking,
            attempts=tuple(attempts),
            usage=_plus(answer.usage, usage),
            cost_usd=_added(answer.cost_usd, cost),
            progress=answer.progress,
        )
    change = partial(
        Change,
        job_id=claimed.job.id,
        fence=claimed.fence,
        parent_id=claimed.job.parent_id,
        attempts=tuple(attempts),
        usage=usage,
        cost_usd=cost,
        progress=answer.progress,
    )
    match answer:
        case Failed():
            return change(
                status=Status.FAILED,
                result=answer.result,
                error=answer.error,
                taking=answer.taking,
                usage=_plus(answer.usage, usage),
                cost_usd=_added(answer.cost_usd, cost),
            )
        case Retry():
            sums = {"usage": _plus(answer.usage, usage), "cost_usd": _added(answer.cost_usd, cost)}
            return _announced(_retry(claimed.job, answer, partial(change, **sums), now, chance))
        case Snooze():
            return change(status=Status.QUEUED, due_at=min(now + answer.after_seconds, claimed.job.deadline))
        case Spawn():
            return change(status=Status.WAITING, join=answer.join, children=answer.children, taking=answer.taking)
        case _:
            assert_never(answer)


def hand_back(claimed: Claimed, attempts: Sequence[Attempt], *, now: float) -> Change:
    """Gives a job back unharmed: no attempt used, claimable at once (a drain, or a target that became unavailable)."""
    return Change(
        job_id=claimed.job.id,
        fence=claimed.fence,
        parent_id=claimed.job.parent_id,
        status=Status.QUEUED,
        due_at=now,
        attempts=tuple(attempts),
    )


def _retry(job: Job, answer: Retry, change: partial[Change], now: float, chance: random.Random) -> Change:
    used = 1 if answer.is_counted else 0
    if used and job.attempts_used + used >= job.spec.max_attempts:
        return change(status=Status.FAILED, attempts_used=used, error=answer.error, result=answer.result)
    if now >= job.deadline:
        return change(status=Status.FAILED, attempts_used=used, error=expired(answer.error))
    tries = job.attempts_used + used if used else job.attempt_count + 1
    wait = delay_seconds(tries, chance, retry_after=answer.after_seconds)
    return change(status=Status.QUEUED, attempts_used=used, due_at=min(now + wait, job.deadline), error=answer.error)


def _announced(change: Change) -> Change:
    """Notes in the attempts when the job is tried again."""
    if change.status is not Status.QUEUED:
        return change
    return replace(change, attempts=tuple(replace(attempt, retry_at=change.due_at) for attempt in change.attempts))


def expired(last: JobError | None = None) -> JobError:
    """The error of a job whose deadline has passed; it names what it last waited for."""
    because = f"; the last try: {last.message}" if last else ""
    return JobError(code=ErrorCode.EXPIRED, message=f"The deadline passed before the job was done{because}")


def ended_by(ending: Ending | None) -> JobError:
    """The error of a group that was asked from outside to end."""
    if ending is Ending.CANCEL:
        return JobError(code=ErrorCode.CANCELLED, message="It was cancelled")
    return expired()


def next_attempt(claimed: Claimed, *, target: str, model: str | None, now: float) -> Attempt:
    """The attempt that a handler is about to begin."""
    job = claimed.job
    return Attempt(
        job_id=job.id,
        number=job.attempt_count + 1,
        fence=claimed.fence,
        target=target,
        model=model,
        started_at=now,
    )


def broken_off(attempt: Attempt, *, now: float) -> Attempt:
    """The attempt of a call that we broke off ourselves."""
    return Attempt(
        job_id=attempt.job_id,
        number=attempt.number,
        fence=attempt.fence,
        target=attempt.target,
        model=attempt.model,
        started_at=attempt.started_at,
        finished_at=now,
        outcome=Outcome.CANCELLED,
    )


def _sums(attempts: Sequence[Attempt]) -> tuple[Usage | None, float | None]:
    if len(attempts) == 1:
        return attempts[0].usage, attempts[0].cost_usd
    return summed(one.usage for one in attempts), summed_usd(one.cost_usd for one in attempts)


def _plus(one: Usage | None, other: Usage | None) -> Usage | None:
    return other if one is None else one if other is None else one.plus(other)


def _added(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other

"""Withdrawals: work that goes on elsewhere while its job has ended (cancelled, expired, lost a race) is ended there.

The store ends such a job like any other, at once and whether or not its target can be reached. What was submitted
stands in a stored record; a sweep of every node compares them with their jobs, tells the targets, and closes the
attempts in the ledger.
"""

import asyncio

import structlog

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.change import Change
from forebay.domain.errors import (
    RemoteFailed,
    TargetError,
    TargetFailed,
    TargetThrottled,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.job import ErrorCode, Job, Status
from forebay.domain.pending import PENDING, Submission, job_id_of, submission_of
from forebay.domain.query import Parts
from forebay.domain.stored import StoredRecord
from forebay.engine.services import Services
from forebay.policy.lifecycle import broken_off
from forebay.ports import SlowTarget

log = structlog.get_logger(__name__)
AT_ONCE = 500
TELLING_SECONDS = 30.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 300.0
_OPEN = frozenset({Outcome.RUNNING, Outcome.CANCELLED, Outcome.UNKNOWN})  # the work may go on
_PASSING = (TargetUnavailable, TargetThrottled, TargetTimeout, TargetFailed)


class Withdrawals:
    """The sweep, with its place in the round over what is pending, and whom it could not reach."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._after: str | None = None
        self._waits: dict[str, tuple[float, float]] = {}  # by record: until when, and the pause

    async def step(self) -> bool:
        """Looks at the next so many submissions. False: there was something to do, and there may be more."""
        services = self._services
        records = await services.records.list(None, PENDING, after=self._after, limit=AT_ONCE)
        self._after = records[-1].id if len(records) == AT_ONCE else None
        if not records:
            self._waits.clear()
            return True
        jobs = await services.jobs.get(None, [job_id_of(record) for record in records], Parts(attempts=True))
        over = [(record, job) for record, job in zip(records, jobs, strict=True) if _is_over(record, job)]
        await asyncio.gather(*(self._close(record, job) for record, job in over))
        return self._after is None or not over

    async def _close(self, record: StoredRecord, job: Job | None) -> None:
        """Ends one submission in the ledger and at its target; what can't be told is tried again."""
        now = self._services.clock.now()
        if now < self._waits.get(record.id, (0.0, 0.0))[0]:
            return
        submission = submission_of(record)
        attempt = _attempt_of(job, submission)
        if attempt is not None and attempt.outcome in _OPEN:
            if attempt.outcome is Outcome.RUNNING:
                await self._end_attempt(attempt)
            if not await self._is_told(record, submission):
                return
        self._waits.pop(record.id, None)
        await self._services.records.delete(record.tenant, PENDING, record.id)

    async def _end_attempt(self, attempt: Attempt) -> None:
        """Completes it under the lease that began it, which is long over: nothing else changes."""
        ended = broken_off(attempt, now=self._services.clock.now())
        change = Change(job_id=attempt.job_id, fence=attempt.fence, status=Status.QUEUED, attempts=(ended,))
        await self._services.jobs.apply([change])
        self._services.meters.attempt_ended(ended.target, ended.model, ended.outcome, None, None)

    async def _is_told(self, record: StoredRecord, submission: Submission) -> bool:
        target = self._services.targets.get(submission.target)
        if not isinstance(target, SlowTarget):
            return True
        try:
            async with asyncio.timeout(TELLING_SECONDS):
                await target.withdraw(submission.state)
        except RemoteFailed:
            return True
        except (*_PASSING, TimeoutError) as error:
            _, pause = self._waits.get(record.id, (0.0, FIRST_PAUSE_SECONDS / 2))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            self._waits[record.id] = (self._services.clock.now() + pause, pause)
            log.info("withdrawal_failed", target=submission.target, job_id=job_id_of(record), reason=str(error))
            return False
        except TargetError as error:  # it refuses to hear of it
            log.info("withdrawal_refused", target=submission.target, job_id=job_id_of(record), reason=str(error))
        return True


def _is_over(record: StoredRecord, job: Job | None) -> bool:
    """Whether nobody waits for the submission any more: its job has ended, or has begun another one. A job that is
    held because its outcome is unknown is a person's to decide on.
    """
    if job is not None and job.error is not None and job.error.code == ErrorCode.OUTCOME_UNKNOWN:
        return False
    return job is None or job.is_terminal or job.attempt_count > submission_of(record).number


def _attempt_of(job: Job | None, submission: Submission) -> Attempt | None:
    if job is None:
        return None
    return next((attempt for attempt in job.attempts if attempt.number == submission.number), None)

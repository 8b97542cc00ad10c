"""``events_of``: what has happened to a job, told from its state and its attempts alone.

Events are not kept: the same state gives the same events with the same ids, in whichever process and after whichever
restart. An id is the microsecond of the event, moved on where two would be equal, so that ids grow with a job and go
on growing when it is retried.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.batch import BATCH_KINDS, cursor_of
from forebay.domain.change import Tally
from forebay.domain.job import Job
from forebay.domain.pending import infer_cursor
from forebay.domain.record import Record

MICROSECONDS = 1_000_000
PERCENT = 100


class EventType(StrEnum):
    """What may happen to a job."""

    QUEUED = "job.queued"
    STARTED = "attempt.started"
    FINISHED = "attempt.finished"
    RETRYING = "job.retrying"
    WAITING = "job.waiting"
    PROGRESS = "job.progress"
    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in {EventType.SUCCEEDED, EventType.FAILED, EventType.CANCELLED}


class Standing(Record, frozen=True, kw_only=True):
    """How far a group has come. What was cancelled, and what will never be sent, counts as failed. Of a call that goes
    on elsewhere: the percentage that is told, of 100.
    """

    total: int
    succeeded: int
    failed: int

    @property
    def done(self) -> int:
        return self.succeeded + self.failed


class JobEvent(Record, frozen=True, kw_only=True):
    """One event; ``id`` grows within its job."""

    id: int
    type: EventType
    at: float
    attempt: Attempt | None = None
    progress: Standing | None = None


def events_of(job: Job, standing: Standing | None = None) -> list[JobEvent]:
    """All events of a job that was read with its attempts, in their order; of progress the latest alone."""
    events = [JobEvent(id=_id(job.created_at), type=EventType.QUEUED, at=job.created_at)]
    last = events[0].id
    for event in _of_attempts(job):
        events.append(_after(last, event))
        last = events[-1].id
    if job.is_group and job.started_at is not None:
        events.append(_after(last, _event(EventType.WAITING, job.started_at)))
        last = events[-1].id
    if standing is not None and standing.total and job.started_at is not None:
        at = job.finished_at or job.started_at
        progress = JobEvent(id=last + 1 + standing.done, type=EventType.PROGRESS, at=at, progress=standing)
        events.append(progress)
        last += 1 + max(standing.done, standing.total)
    if job.is_terminal:
        finished_at = job.finished_at or job.created_at
        ended = JobEvent(id=_id(finished_at), type=EventType(f"job.{job.status}"), at=finished_at, progress=standing)
        events.append(_after(last, ended))
    return events


def standing_of(job: Job, tally: Tally) -> Standing:
    """How far a group has come, by its children and, of a batch, by its cursor."""
    failed = tally.failed + tally.cancelled
    if job.kind not in BATCH_KINDS:
        total = tally.live + tally.succeeded + failed
        return Standing(total=total, succeeded=tally.succeeded, failed=failed)
    cursor = cursor_of(job.progress)
    failed = cursor.total - tally.succeeded if job.is_terminal else failed + cursor.refused
    return Standing(total=cursor.total, succeeded=tally.succeeded, failed=failed)


def standing_elsewhere(job: Job) -> Standing | None:
    """How far the call of a job has come that goes on elsewhere; None where nobody tells."""
    pending = None if job.is_terminal else infer_cursor(job.progress).pending
    if pending is None or pending.progress is None:
        return None
    return Standing(total=PERCENT, succeeded=min(max(round(pending.progress * PERCENT), 0), PERCENT), failed=0)


def _of_attempts(job: Job) -> Iterator[JobEvent]:
    following: Sequence[Attempt | None] = [*job.attempts, None]
    for attempt, later in pairwise(following):
        if attempt is None:
            continue
        yield _event(EventType.STARTED, attempt.started_at, attempt)
        if attempt.outcome is Outcome.RUNNING:
            continue
        at = attempt.finished_at
        if at is None:  # its worker died in it: nobody knows when
            known = later.started_at if later else job.finished_at or job.due_at
            # The id follows the beginning's: the moment may become known better, and the event stays the same one.
            yield JobEvent(id=0, type=EventType.FINISHED, at=max(known, attempt.started_at), attempt=attempt)
        else:
            yield _event(EventType.FINISHED, at, attempt)
        if attempt.retry_at is not None:
            yield _event(EventType.RETRYING, at or attempt.started_at, attempt)


def _event(event_type: EventType, at: float, attempt: Attempt | None = None) -> JobEvent:
    return JobEvent(id=_id(at), type=event_type, at=at, attempt=attempt)


def _after(last: int, event: JobEvent) -> JobEvent:
    """The event with an id above the last one's."""
    if event.id > last:
        return event
    return JobEvent(id=last + 1, type=event.type, at=event.at, attempt=event.attempt, progress=event.progress)


def _id(at: float) -> int:
    return round(at * MICROSECONDS)

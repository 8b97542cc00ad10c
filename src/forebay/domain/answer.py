"""What a handler answers with: data, five forms. ``policy.lifecycle.decide`` turns one into a Change."""

from forebay.domain.attempt import Usage
from forebay.domain.content import Segment
from forebay.domain.job import Job, JobError, Join, Result
from forebay.domain.record import Record


class Taking(Record, frozen=True, kw_only=True):
    """What a group takes over in the transaction of its answer: finished children, and segments of output.

    A dead child may be retried, and succeed, between its parent's reading and this transaction. One that stands in
    ``dead`` is passed over then: its result was not taken.
    """

    collect: tuple[str, ...] = ()  # terminal children: the succeeded are deleted, the dead marked
    dead: tuple[str, ...] = ()  # children that were read as dead: marked if they still are
    segments: tuple[Segment, ...] = ()


class Done(Record, frozen=True, kw_only=True):
    """The job succeeded. Under an ``ending`` it ends as the ending says, with this output. ``usage``, ``cost_usd``:
    what a group's children used, beside its own attempts.
    """

    result: Result | None = None
    taking: Taking = Taking()
    progress: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None


class Failed(Record, frozen=True, kw_only=True):
    """The job failed for good: a dead letter. ``result`` is the model's own refusal, if it gave one."""

    error: JobError
    result: Result | None = None
    taking: Taking = Taking()
    progress: str | None = None
    usage: Usage | None = None  # as of Done
    cost_usd: float | None = None


class Retry(Record, frozen=True, kw_only=True):
    """Once more, after ``after_seconds`` (None: backoff decides). Whether it uses an attempt is ``is_counted``."""

    error: JobError
    after_seconds: float | None = None
    is_counted: bool = True
    result: Result | None = None  # kept if this was the last attempt
    progress: str | None = None
    usage: Usage | None = None  # as of Done
    cost_usd: float | None = None


class Snooze(Record, frozen=True, kw_only=True):
    """Not an error: look again later. Uses no attempt."""

    after_seconds: float
    progress: str | None = None


class Spawn(Record, frozen=True, kw_only=True):
    """Adds children (idempotent by their keys) and waits for ``join``."""

    children: tuple[Job, ...] = ()
    join: Join = Join()
    progress: str | None = None
    taking: Taking = Taking()


Answer = Done | Failed | Retry | Snooze | Spawn

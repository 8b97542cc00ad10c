"""Change: what one answer does to the store, atomically. The store's verbs reply in the other records of this file."""

from enum import StrEnum

from forebay.domain.answer import Taking
from forebay.domain.attempt import Attempt, Usage
from forebay.domain.job import Ending, Job, JobError, Join, Result, Status
from forebay.domain.record import Record


class Change(Record, frozen=True, kw_only=True):
    """The own row, children, what was taken over, completed attempts and outbox of one answer: all or nothing.

    ``status`` is ``queued`` (retry, snooze, hand-back), ``waiting`` (spawn) or terminal. Fields that are None leave the
    row as it is, except ``join`` (set with ``waiting``), ``result`` and ``error`` (set with a terminal status or a
    retry).
    """

    job_id: str
    fence: int
    status: Status
    parent_id: str = ""
    due_at: float | None = None  # with `queued`
    result: Result | None = None
    error: JobError | None = None
    progress: str | None = None
    join: Join | None = None
    children: tuple[Job, ...] = ()
    taking: Taking = Taking()
    attempts: tuple[Attempt, ...] = ()  # completed, to be written over their `running` rows
    attempts_used: int = 0  # added to the row's
    usage: Usage | None = None  # added to the row's
    cost_usd: float | None = None  # added to the row's


class Verdict(StrEnum):
    """The reply to one Change or one Attempt."""

    APPLIED = "applied"
    # the fence is not the current one: the job is as it was (attempts are completed all the same)
    LEASE_LOST = "lease_lost"


class Added(Record, frozen=True, kw_only=True):
    """The reply to one job of ``add``: the id it has, whether it is new, and what the first request was."""

    id: str
    is_new: bool
    status: Status
    fingerprint: str = ""


class Want(Record, frozen=True, kw_only=True):
    """What a worker asks a queue for: at most ``slots``, while its ``lane`` has fewer than ``cap`` leases in the
    whole store.
    """

    queue: str
    lane: str  # the target that will serve it, or the queue's own name
    slots: int
    cap: int | None = None


class Claimed(Record, frozen=True, kw_only=True):
    """A job under a lease. ``fence`` grows with every claim in the store; it proves the lease in begin and apply."""

    job: Job
    fence: int
    lane: str
    is_alone: bool = False  # a suspect, run with nothing beside it


class Worker(Record, frozen=True, kw_only=True):
    """A worker process as the store knows it."""

    id: str
    epoch: int = 0  # bumped when its leases were taken away
    host: str = ""
    pid: int = 0
    pid_started: str = ""  # tells a process from a later one of the same pid
    queues: tuple[str, ...] = ()
    lease_seconds: float = 30.0
    heartbeat_at: float = 0.0  # filled by reads


class Renewal(Record, frozen=True, kw_only=True):
    """The reply to a heartbeat: whether the worker still holds its leases, and which jobs were asked to stop."""

    is_alive: bool
    epoch: int
    stopping: tuple[str, ...] = ()


class Recovered(Record, frozen=True, kw_only=True):
    """What one sweep of ``recover`` did; more may be left (each step is bounded)."""

    rescued: int = 0
    expired: int = 0
    due: int = 0  # moved from `later` to `ready`
    woken: int = 0
    suspects: tuple[str, ...] = ()  # queues with suspects waiting to be run alone
    is_complete: bool = True


class Pruned(Record, frozen=True, kw_only=True):
    """What one step of ``prune`` removed."""

    jobs: int = 0
    is_complete: bool = True


class Tally(Record, frozen=True, kw_only=True):
    """How a group's children stand: the taken-over ones and those that still have rows."""

    live: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    usage: Usage | None = None  # of children, taken over or not
    cost_usd: float | None = None


class Lookup(StrEnum):
    """Why ``retry`` or ``cancel`` did not touch a job."""

    DONE = "done"
    NOT_FOUND = "not_found"
    NOT_DEAD = "not_dead"  # retry: it is live, or it succeeded
    PARENT_ENDED = "parent_ended"  # retry: a line of an ended batch needs a new batch


class Reply(Record, frozen=True, kw_only=True):
    """The reply to one id of ``cancel`` or ``retry``: what was done, and the state after it."""

    id: str
    lookup: Lookup
    status: Status | None = None
    ending: Ending | None = None


class Depth(Record, frozen=True, kw_only=True):
    """One queue's length for metrics and doctor."""

    queue: str
    queued: int
    running: int
    oldest_queued_at: float | None = None
    dead: int = 0

"""Fan-out: a group whose children are the branches of one message. What its job carries, and its cursor."""

from enum import StrEnum
from typing import Any

import msgspec

from forebay.domain.attempt import Usage
from forebay.domain.infer_args import Ceiling
from forebay.domain.job import Job, JobError, OnUnknown, Status
from forebay.domain.record import Record

FANOUT = "fanout"  # the job's kind
MOST_BRANCHES = 1000
BRANCH_KEY = "branch:"  # begins the key of a branch's job
AGGREGATE_KEY = "aggregate"  # the key of the job that sums up
NO_SUCCESS = "no_success"  # codes of a fan-out that failed
NO_QUORUM = "no_quorum"
BRANCH_FAILED = "branch_failed"
JOIN_DEADLINE = "join_deadline"  # codes of a branch that was not waited for
NOT_NEEDED = "not_needed"


class OnFailure(StrEnum):
    """What becomes of the whole when a branch fails."""

    PARTIAL = "partial"  # what succeeded is the result
    FAIL = "fail"  # one failure is the whole's


class How(StrEnum):
    """How the results of the branches become one."""

    COLLECT = "collect"
    FIRST = "first"
    VOTE = "vote"
    MERGE = "merge"
    TARGET = "target"


class Branch(Record, frozen=True, kw_only=True):
    """One entry of ``send``: a request as of ``POST /v1/jobs``. ``body`` is a template over the event; None: the
    fan-out's own body, verbatim. ``not_before`` and ``deadline`` are Unix seconds, or counted from the making of the
    branch's job. ``fanout``: it goes to several targets itself.
    """

    name: str
    target: str | None = None
    model: str | None = None
    endpoint: str | None = None
    body: Any = None
    priority: int | None = None
    timeout_seconds: float | None = None
    not_before: float | None = None
    not_before_seconds: float | None = None
    deadline: float | None = None
    deadline_seconds: float | None = None
    max_attempts: int = 5
    on_unknown: OnUnknown = OnUnknown.RETRY
    budget_usd: float | None = None
    metadata: dict[str, str] = {}
    hops: int = 0  # events that led here
    fanout: "FanoutArgs | None" = None


class Aggregation(Record, frozen=True, kw_only=True):
    """``path``: of a vote; ``branch``: the job that sums up, its template sees ``results`` and ``event``."""

    how: How = How.COLLECT
    path: str | None = None
    branch: Branch | None = None


class FanoutArgs(Record, frozen=True, kw_only=True):
    """``spec.args`` of a fan-out. ``successes``: how many end it (None: all that there are are waited for)."""

    branches: tuple[Branch, ...]
    successes: int | None = None
    on_failure: OnFailure = OnFailure.PARTIAL
    aggregation: Aggregation = Aggregation()
    leeway_seconds: float = 60.0  # between the join's deadline, when who is late is left out, and the job's own
    rule: str | None = None
    budgets: tuple[Ceiling, ...] = ()  # that its branches spend from, beside its own

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(branch.name for branch in self.branches)

    @property
    def needed(self) -> int | None:
        """How many successes the whole can't do without; None: as many as there are, and one at least."""
        if self.successes is None and self.on_failure is OnFailure.FAIL:
            return len(self.branches)
        return self.successes


class Cursor(Record, frozen=True, kw_only=True):
    """``progress`` of a fan-out. ``refused``: branches that could not be made into jobs, by name. ``left_out``: those
    that were live when the join was decided, and ``code``, why they were not waited for. ``counted_…``: what of the
    children's sums is in the group's own, from an end before it was retried.
    """

    version: int = 1
    refused: dict[str, JobError] = {}
    left_out: tuple[str, ...] = ()
    code: str | None = None
    error: JobError | None = None
    is_aggregating: bool = False
    counted_usage: Usage | None = None
    counted_usd: float = 0.0


class Entry(Record, frozen=True, kw_only=True):
    """What came of one branch. ``body``: of a success; ``finished_at`` orders a race."""

    name: str
    status: Status
    job_id: str | None = None
    body: msgspec.Raw = msgspec.Raw(b"null")
    error: JobError | None = None
    cost_usd: float | None = None
    finished_at: float | None = None


class Document(msgspec.Struct, omit_defaults=True):
    """The result's text as a fan-out keeps it. ``branches``: the entries, where they are not the body itself."""

    body: msgspec.Raw
    branches: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Leeway(msgspec.Struct):
    leeway_seconds: float = 60.0


_LEEWAY = msgspec.json.Decoder(_Leeway)
_ARGS = msgspec.json.Decoder(FanoutArgs)
_CURSOR = msgspec.json.Decoder(Cursor)


def fanout_args(text: str | None) -> FanoutArgs:
    """Reads a fan-out's arguments."""
    return _ARGS.decode(text or "{}")


def join_deadline(job: Job) -> float:
    """When a fan-out joins: the deadline that it was given. Its own is later by the leeway."""
    return job.deadline - _LEEWAY.decode(job.spec.args or "{}").leeway_seconds


def cursor_of(progress: str | None) -> Cursor | None:
    """Reads a fan-out's progress; None before its branches were made."""
    return _CURSOR.decode(progress) if progress else None

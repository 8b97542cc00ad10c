"""What a Python function that is a target gets, raises and is marked with: exported as ``forebay.*`` for its author."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from forebay.domain.errors import ForebayError
from forebay.domain.record import Record

MARK = "__forebay_target__"


class RunIn(StrEnum):
    """Where a sync function is called."""

    PROCESS = "process"  # of its own: its time limit really ends it
    THREAD = "thread"  # of the worker: cheaper, and what it shares with others is shared; it can't be ended


_Function = TypeVar("_Function", bound=Callable[..., Any])


class InferenceRequest(Record, frozen=True, kw_only=True):
    """One call of the function."""

    job_id: str
    attempt: int  # 1, 2, … within the job
    endpoint: str
    body: dict[str, Any]  # the request's JSON
    metadata: Mapping[str, str] = {}
    hops: int = 0  # events that led here, each set off by the one before; to be passed on as `forebay-hops`
    children: Mapping[str, Any] = {}  # what came of those that it spawned before, by name: entries of a fan-out


@dataclass(frozen=True, slots=True)
class Spawn:
    """Returned by the function: it is called again, with ``request.children``, when these have done their work.

    ``children``: each a request as of ``POST /v1/jobs``, with a ``name`` if its target's is not to be it. ``join``:
    ``all``, ``first`` or ``{"successes": N}``. ``on_failure="fail"``: a child's failure is the job's. ``deadline``:
    seconds or a duration (``15m``), after which who is late is left out.
    """

    children: Sequence[Mapping[str, Any]]
    _: KW_ONLY
    join: str | Mapping[str, int] = "all"
    on_failure: str = "partial"
    deadline: float | str | None = None


class TargetMark(Record, frozen=True, kw_only=True):
    """What ``forebay.target`` notes at a function. The target's declaration goes before it."""

    modality: str = "text"
    run_in: RunIn | None = None


class Retry(ForebayError):
    """Raised by the function: not now. The job waits ``after`` seconds (None: backoff decides) and uses no attempt."""

    def __init__(self, message: str = "the function asks to be called again later", *, after: float | None = None):
        super().__init__(message)
        self.message = message
        self.after = after


class Reject(ForebayError):
    """Raised by the function: this request can't be served, ever. The job ends as a dead letter."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def target(*, modality: str = "text", run_in: str | None = None) -> Callable[[_Function], _Function]:
    """Marks a function as a target, and changes nothing else: ``type: python, function: "module:name"`` names it.

    ``run_in``: ``process`` or ``thread``, of a sync function. Raises: ValueError: another.
    """
    noted = TargetMark(modality=modality, run_in=None if run_in is None else RunIn(run_in))

    def mark(function: _Function) -> _Function:
        setattr(function, MARK, noted)
        return function

    return mark

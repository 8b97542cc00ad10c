"""What a Python function that is a target gets, raises and is marked with: exported as ``forebay.*`` for its author."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from forebay.domain.errors import ForebayError
from forebay.domain.record import Record

MARK = "__forebay_target__"

_Function = TypeVar("_Function", bound=Callable[..., Any])


class InferenceRequest(Record, frozen=True, kw_only=True):
    """One call of the function."""

    job_id: str
    attempt: int  # 1, 2, … within the job
    endpoint: str
    body: dict[str, Any]  # the request's JSON
    metadata: Mapping[str, str] = {}
    children: Mapping[str, Any] = {}  # results of the branches that the function spawned before


class TargetMark(Record, frozen=True, kw_only=True):
    """What ``forebay.target`` notes at a function."""

    modality: str = "text"


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


def target(*, modality: str = "text") -> Callable[[_Function], _Function]:
    """Marks a function as a target, and changes nothing else: ``type: python, function: "module:name"`` names it."""

    def mark(function: _Function) -> _Function:
        setattr(function, MARK, TargetMark(modality=modality))
        return function

    return mark

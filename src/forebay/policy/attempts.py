"""What a failed call means for its job: which outcome the ledger gets, whether it uses an attempt, whether it is final.

Counted: time-out, reset after the request was sent, 408, 409, 425, 5xx, truncated or non-JSON answers, invalid output.
Final at once: 400, 401, 403, 404, 413, 422 and every other refusal. Not counted: 429, 503, a refused connection, DNS or
TLS failure, an open breaker: a reservoir waits for its turbine, until the deadline.
"""

from forebay.domain.attempt import Outcome
from forebay.domain.errors import (
    RemoteFailed,
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.job import ErrorCode
from forebay.domain.record import Record

FIRST_ERROR_STATUS = 400


class Judgement(Record, frozen=True, kw_only=True):
    """What to write and what to do. ``is_final``: no further try can help."""

    outcome: Outcome
    code: ErrorCode
    is_counted: bool
    is_final: bool = False


_THROTTLED = Judgement(outcome=Outcome.THROTTLED, code=ErrorCode.TARGET_UNAVAILABLE, is_counted=False)
_UNAVAILABLE = Judgement(outcome=Outcome.UNAVAILABLE, code=ErrorCode.TARGET_UNAVAILABLE, is_counted=False)
_TIMEOUT = Judgement(outcome=Outcome.TIMEOUT, code=ErrorCode.TARGET_TIMEOUT, is_counted=True)
_FAILED = Judgement(outcome=Outcome.UNAVAILABLE, code=ErrorCode.TARGET_UNAVAILABLE, is_counted=True)
_UNREADABLE = Judgement(outcome=Outcome.INVALID_OUTPUT, code=ErrorCode.INVALID_OUTPUT, is_counted=True)
_REJECTED = Judgement(outcome=Outcome.REJECTED, code=ErrorCode.TARGET_REJECTED, is_counted=True, is_final=True)


def may_be_charged(error: TargetError) -> bool:
    """Whether the target may have done the work all the same: then a budget's reservation stands."""
    if isinstance(error, TargetTimeout):
        return True
    is_cut = error.status_code is None or error.status_code < FIRST_ERROR_STATUS
    return isinstance(error, TargetFailed) and is_cut


def judge(error: TargetError) -> Judgement:
    """Judges one failed call."""
    match error:
        case TargetThrottled():
            return _THROTTLED
        case TargetUnavailable():
            return _UNAVAILABLE
        case TargetTimeout():
            return _TIMEOUT
        case TargetRejected():
            return _REJECTED
        case RemoteFailed():
            return _FAILED
        case TargetFailed() if error.status_code is not None and error.status_code < FIRST_ERROR_STATUS:
            return _UNREADABLE
        case _:
            return _FAILED

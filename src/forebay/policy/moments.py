"""Moments of entries that are written once and made into jobs later: a time, or so long after the making. Pure."""

from datetime import datetime
from typing import Any, NamedTuple

from forebay.domain.errors import RequestError
from forebay.policy.durations import duration_seconds

SHORTEST_TIME = 100_000_000.0  # of 1973: where a number may be a duration as well, what is less is one
LAST_SECOND = 253_402_300_799.0  # the end of the year 9999, the last that RFC 3339 can say
_FORMS = "a duration such as 15m, RFC 3339 or Unix seconds"


class Moment(NamedTuple):
    """``at``: Unix seconds; or ``after_seconds``; or neither."""

    at: float | None = None
    after_seconds: float | None = None


def read_moment(value: Any, where: str, *, shortest_time: float = 0.0) -> Moment:
    """A text is a duration or RFC 3339; a number is Unix seconds, or below ``shortest_time`` a duration's seconds.

    Raises: RequestError, with the place as ``param``.
    """
    if value is None:
        return Moment()
    if isinstance(value, str):
        seconds = duration_seconds(value)
        return Moment(after_seconds=seconds) if seconds is not None else Moment(at=_parsed(value, where))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LAST_SECOND:
        raise RequestError(f"{where}: {_FORMS}, not {value!r}", param=where)
    return Moment(at=float(value)) if value >= shortest_time else Moment(after_seconds=float(value))


def _parsed(text: str, where: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None and 0 < (at := moment.timestamp()) <= LAST_SECOND:
            return at
    except (ValueError, OverflowError):
        pass
    raise RequestError(f"{where}: {_FORMS} with its time zone, not {text!r}", param=where)

"""Times as they come in: Unix seconds, RFC 3339, or a duration such as ``15m``."""

from datetime import UTC, datetime

from forebay.domain.errors import RequestError
from forebay.policy.durations import duration_seconds

LAST_SECOND = 253_402_300_799.0  # the end of the year 9999, the last that RFC 3339 can say
_FORMS = "Unix seconds, RFC 3339 (`2026-11-21T08:00:00Z`) or a duration (`15m`, `24h`, `1h30m`)"


def read_time(value: float | str, *, start: float, param: str, is_past: bool = False) -> float:
    """Returns Unix seconds; a duration counts from ``start``, or back from it (``is_past``). Raises: RequestError."""
    if isinstance(value, str):
        seconds = duration_seconds(value)
        signed = -seconds if seconds and is_past else seconds
        moment = _moment(value, param) if signed is None else start + signed
    else:
        moment = float(value)
    if not 0 <= moment <= LAST_SECOND:
        raise RequestError(f"{param}: {value!r} is out of range; give {_FORMS}", param=param)
    return moment


def read_duration(value: float | str, *, longest_seconds: float, param: str) -> float:
    """Returns seconds, more than none. Raises: RequestError."""
    seconds = duration_seconds(value) if isinstance(value, str) else float(value)
    if seconds is None:
        raise RequestError(f"{param}: {value!r} is not a duration; give seconds, or `90s`, `15m`, `2h`", param=param)
    if not 0 < seconds <= longest_seconds:
        raise RequestError(f"{param}: {value!r} must be more than 0 and at most {longest_seconds:g} s", param=param)
    return seconds


def rfc3339(moment: float) -> str:
    """Unix seconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def _moment(text: str, param: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as exc:
        raise RequestError(f"{param}: {text!r} is not a time; give {_FORMS}", param=param) from exc
    if moment.tzinfo is None:
        raise RequestError(f"{param}: {text!r} has no time zone; end it with `Z` or `+01:00`", param=param)
    try:
        return moment.timestamp()
    except (OverflowError, ValueError) as exc:
        raise RequestError(f"{param}: {text!r} is out of range; give {_FORMS}", param=param) from exc

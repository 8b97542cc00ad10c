"""Cron expressions: five fields in a time zone, as Debian's cron reads them, across changes of the clock. Pure.

What happens in the two odd nights of the year follows Debian's crontab(5): an expression at a fixed time (neither the
minute nor the hour begins with ``*``) fires once, at the first instant after a skipped time and at the first of a
doubled one; one with ``*`` follows the clock on the wall: not in an hour that is skipped, twice in one that is doubled.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from forebay.domain.errors import RequestError

FIELDS = 5
LONGEST = 200  # characters
LAST_SECOND = 253_370_764_800.0  # the year 9999: no calendar goes on
_MONTH = datetime(2000, 1, 1, tzinfo=UTC)


def read_cron(text: object, param: str) -> str:
    """Returns the expression with single spaces. Raises: RequestError: it is none, or no day ever matches it."""
    if not isinstance(text, str) or not text.strip():
        raise RequestError(f"{param}: a cron expression such as '0 2 * * 1'", param=param)
    fields = text.split()
    if len(fields) != FIELDS or len(text) > LONGEST:
        message = f"{param}: {text[:LONGEST]!r} is no cron expression: its fields are minute hour day month weekday"
        raise RequestError(message, param=param)
    try:
        next(CronSim(" ".join(fields), _MONTH))
    except CronSimError as error:
        raise RequestError(f"{param}: {text!r} is no cron expression: {str(error).lower()}", param=param) from error
    except StopIteration:
        raise RequestError(f"{param}: no day ever matches {text!r}", param=param) from None
    return " ".join(fields)


def read_zone(name: object, param: str) -> str:
    """Returns the name of an IANA time zone. Raises: RequestError: there is none."""
    if not isinstance(name, str) or zone_of(name) is None:
        raise RequestError(f"{param}: there is no time zone {name!r}; give one such as Europe/Berlin", param=param)
    return name


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo | None:
    """The IANA time zone of that name."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder
        return None


def zone(name: str) -> tzinfo:
    """A zone that was read before. Raises: RequestError: this machine does not know it."""
    found = zone_of(name)
    if found is None:
        raise RequestError(f"There is no time zone {name!r} on this machine", param="timezone")
    return found


def cron_times(expression: str, timezone: str, after: float) -> Iterator[float]:
    """The instants later than ``after`` (Unix seconds), growing; it ends when none comes for fifty years."""
    place = zone(timezone)
    last = after
    for moment in _moments(expression, datetime.fromtimestamp(after, UTC).astimezone(place)):
        at = moment.timestamp()
        if moment.astimezone(UTC).astimezone(place).replace(fold=0) != moment.replace(fold=0):
            continue  # a wall clock never shows it
        if at <= last:  # fixed times within the skipped hour fall together, and the first of a doubled one is over
            continue
        last = at
        yield at


def _moments(expression: str, start: datetime) -> Iterator[datetime]:
    try:
        yield from CronSim(expression, start)
    except (OverflowError, ValueError):  # the calendar ends
        return

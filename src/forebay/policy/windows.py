"""Daily time windows on the clock of a zone, for steps and targets: ``22:00-06:00 Europe/Berlin``. Pure.

A window is open while that zone's clock on the wall shows a time in it: in a doubled hour twice, in a skipped one not.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from forebay.domain.errors import RequestError
from forebay.domain.pipeline import Window
from forebay.policy.cron import read_zone, zone

MOST_WINDOWS = 64
DAYS_AHEAD = 3  # in which each window opens once at least, even where a zone leaves out a day
HOUR_SECONDS = 3600.0
MINUTE_SECONDS = 60.0
DAY_MINUTES = 1440
_WINDOW = re.compile(r"(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)(?:\s+(\S+))?", re.ASCII)


def read_windows(raw: Any, param: str = "windows") -> tuple[Window, ...]:
    """Reads one window or a list of them; nothing is no window. Raises: RequestError, with the place as ``param``."""
    if raw is None:
        return ()
    if isinstance(raw, str):
        return (_window(raw, param),)
    if not isinstance(raw, list | tuple) or not 1 <= len(raw) <= MOST_WINDOWS:
        raise _wrong(param, raw)
    return tuple(_window(one, f"{param}[{place}]") for place, one in enumerate(raw))


def window_text(window: Window) -> str:
    """The window as it is written."""
    start, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in (window.from_minute, window.until_minute))
    return f"{start}-{end} {window.timezone}"


def is_open(windows: Sequence[Window], now: float) -> bool:
    """Whether one of the windows is open; without any, always."""
    return not windows or any(_is_within(window, now) for window in windows)


def opens_at(windows: Sequence[Window], now: float) -> float:
    """When one of them is open next: ``now`` if one is."""
    if is_open(windows, now):
        return now
    return min(_opens_at(window, now) for window in windows)


def _window(raw: Any, param: str) -> Window:
    found = _WINDOW.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if found is None:
        raise _wrong(param, raw)
    hours, minutes = (int(found[1]), int(found[3])), (int(found[2]), int(found[4]))
    start, end = (60 * hour + minute for hour, minute in zip(hours, minutes, strict=True))
    if start >= DAY_MINUTES or end > DAY_MINUTES or max(minutes) >= 60 or start == end:
        raise _wrong(param, raw)
    return Window(from_minute=start, until_minute=end, timezone=read_zone(found[5] or "UTC", param))


def _wrong(param: str, raw: Any) -> RequestError:
    return RequestError(f"{param}: {str(raw)[:100]!r} is no window; give '22:00-06:00 Europe/Berlin'", param=param)


def _is_within(window: Window, now: float) -> bool:
    shown = datetime.fromtimestamp(now, UTC).astimezone(zone(window.timezone))
    minute = 60 * shown.hour + shown.minute
    if window.from_minute < window.until_minute:
        return window.from_minute <= minute < window.until_minute
    return minute >= window.from_minute or minute < window.until_minute


def _opens_at(window: Window, now: float) -> float:
    """It opens when its time comes, or when the clock is changed to a time within it."""
    found = (at for at in (*_begins(window, now), *_changes(window, now)) if at > now and _is_within(window, at))
    return min(found)


def _begins(window: Window, now: float) -> Iterator[float]:
    place = zone(window.timezone)
    today = datetime.fromtimestamp(now, UTC).astimezone(place).date()
    begin = time(*divmod(window.from_minute, 60))
    for days in range(-1, DAYS_AHEAD):
        at = datetime.combine(today + timedelta(days=days), begin, tzinfo=place)
        yield at.timestamp()
        yield at.replace(fold=1).timestamp()


def _changes(window: Window, now: float) -> Iterator[float]:
    """The instants, whole minutes, at which the zone's clock is changed within the days ahead."""
    place = zone(window.timezone)

    def offset(at: float) -> timedelta | None:
        return datetime.fromtimestamp(at, UTC).astimezone(place).utcoffset()

    start = now - now % MINUTE_SECONDS
    for hours in range(24 * DAYS_AHEAD):
        low, high = start + hours * HOUR_SECONDS, start + (hours + 1) * HOUR_SECONDS
        if offset(low) == offset(high):
            continue
        while high - low > MINUTE_SECONDS:
            middle = low + (high - low) / 2
            middle -= middle % MINUTE_SECONDS
            low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
        yield high

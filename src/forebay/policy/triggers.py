"""The entries of a pipeline's ``on``, read: what starts its runs. Pure; every refusal names the wrong member."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from forebay.domain.errors import InvalidPattern, RequestError
from forebay.domain.pipeline import Trigger, TriggerType
from forebay.policy.cron import read_cron, read_zone, zone
from forebay.policy.durations import duration_seconds
from forebay.policy.matching import EventPattern
from forebay.policy.nearest import hint
from forebay.policy.schedules import OF_CLOCK
from forebay.policy.windows import read_windows

__all__ = ["read_triggers", "read_windows"]
TYPES = ("cron", "rate", "at", "files", "event")
MEMBERS = (*TYPES, "name", "timezone", "window", "params")
MOST_TRIGGERS = 100
LONGEST_NAME = 128
LONGEST_ADDRESS = 4096
LEAST_RATE_SECONDS = 1.0
LONGEST_WINDOW_SECONDS = 86_400.0
LISTED = ("file", "s3", "gs")  # schemes of places that can be listed
LAST_SECOND = 253_402_300_799.0  # the end of the year 9999


def read_triggers(raw: Any, pipeline_name: str, param: str = "on") -> tuple[Trigger, ...]:
    """Reads the entries, or the only one. An entry without a name has the pipeline's: ``-2``, ``-3`` for more.

    Raises: RequestError, with the member as ``param``, such as ``on[1].cron``.
    """
    if raw is None:
        return ()
    entries = [raw] if isinstance(raw, Mapping) else raw
    if not isinstance(entries, list | tuple) or len(entries) > MOST_TRIGGERS:
        raise RequestError(f"{param}: a list of at most {MOST_TRIGGERS} triggers", param=param)
    found: list[Trigger] = []
    unnamed = 0
    for place, entry in enumerate(entries):
        where = param if isinstance(raw, Mapping) else f"{param}[{place}]"
        if not isinstance(entry, Mapping):
            raise RequestError(f"{where}: an object with one of {', '.join(TYPES)}", param=where)
        name = entry.get("name")
        if name is None:
            unnamed += 1
            name = pipeline_name if unnamed == 1 else f"{pipeline_name}-{unnamed}"
        found.append(_trigger(entry, _name(name, f"{where}.name"), where))
        if found[-1].name in [one.name for one in found[:-1]]:
            raise RequestError(f"{where}: the name {name!r} stands twice; give it another", param=f"{where}.name")
    return tuple(found)


def _trigger(entry: Mapping[str, Any], name: str, where: str) -> Trigger:
    for key in entry:
        if key not in MEMBERS:
            at = f"{where}.{key}"
            raise RequestError(f"There is no {at}{hint(str(key), MEMBERS)}", param=at, code="unknown_parameter")
    given = [key for key in TYPES if entry.get(key) is not None]
    if len(given) != 1:
        message = f"{where}: exactly one of {', '.join(TYPES)}, not {' and '.join(given) or 'none'}"
        raise RequestError(message, param=where if not given else f"{where}.{given[-1]}")
    kind = TriggerType(given[0])
    timezone = read_zone(entry["timezone"], f"{where}.timezone") if entry.get("timezone") is not None else "UTC"
    value, at = entry[kind.value], f"{where}.{kind.value}"
    every = _rate(value, at) if kind is TriggerType.RATE else None
    return Trigger(
        name=name,
        type=kind,
        timezone=timezone,
        cron=read_cron(value, at) if kind is TriggerType.CRON else None,
        every_seconds=every,
        at=_moment(value, timezone, at) if kind is TriggerType.AT else None,
        files=_files(value, at) if kind is TriggerType.FILES else None,
        pattern=_pattern(value, at) if kind is TriggerType.EVENT else None,
        window_seconds=_window(entry.get("window"), kind, every, f"{where}.window"),
        params=_params(entry.get("params"), f"{where}.params"),
    )


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value or len(value) > LONGEST_NAME or "/" in value or not value.isprintable():
        raise RequestError(f"{where}: a text of 1 to {LONGEST_NAME} characters without a slash", param=where)
    return value


def _seconds(value: Any) -> float | None:
    if isinstance(value, str):
        return duration_seconds(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _rate(value: Any, where: str) -> float:
    seconds = _seconds(value)
    if seconds is None or not LEAST_RATE_SECONDS <= seconds < math.inf:
        raise RequestError(f"{where}: a duration of a second or more, such as 15m or 1h, not {value!r}", param=where)
    return seconds


def _moment(value: Any, timezone: str, where: str) -> float:
    """Unix seconds, or a date and time, of the trigger's zone where it names none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        at = float(value)
    else:
        try:
            moment = datetime.fromisoformat(value.strip())
            at = (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone(timezone))).timestamp()
        except (AttributeError, ValueError, OverflowError) as exc:
            message = f"{where}: a time such as 2026-12-24T18:00:00+01:00, or Unix seconds, not {str(value)[:100]!r}"
            raise RequestError(message, param=where) from exc
    if not 0 <= at <= LAST_SECOND:
        raise RequestError(f"{where}: {value!r} is out of range", param=where)
    return at


def _files(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value or len(value) > LONGEST_ADDRESS or "\0" in value:
        raise RequestError(f"{where}: a path or address such as inbox/*.csv or s3://bucket/inbox/*.csv", param=where)
    scheme, found, rest = value.partition("://")
    if found and (scheme not in LISTED or not rest.strip("/")):
        message = f"{where}: {scheme}:// is no place whose files can be listed; give a path, or one of"
        raise RequestError(f"{message} {', '.join(f'{one}://' for one in LISTED)}", param=where)
    return value


def _pattern(value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise RequestError(f"{where}: an event pattern, such as {{source: [crm]}}", param=where)
    try:
        EventPattern(value)
    except InvalidPattern as error:
        inner = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.path)
        raise RequestError(f"{where}{inner}: {error.reason}", param=where, code=error.code) from error
    return value


def _window(value: Any, kind: TriggerType, every_seconds: float | None, where: str) -> float:
    if value is None:
        return 0.0
    if kind not in OF_CLOCK:
        raise RequestError(f"{where}: only cron, rate and at have a window", param=where)
    seconds = _seconds(value)
    if seconds is None or not 0 <= seconds <= LONGEST_WINDOW_SECONDS:
        raise RequestError(f"{where}: a duration of at most a day, such as 15m, not {value!r}", param=where)
    if every_seconds is not None and seconds >= every_seconds:
        raise RequestError(f"{where}: must be shorter than the rate", param=where)
    return seconds


def _params(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise RequestError(f"{where}: an object of parameters", param=where)
    return dict(value)

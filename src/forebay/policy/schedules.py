"""Schedules: when a trigger of the clock fires, and which firings that were missed are made up for. Pure.

A firing is known by its fire time, an instant of the schedule. With a flexible window it happens at some instant within
the window after that time, which is the same on every server.
"""

import hashlib
from collections import deque
from collections.abc import Iterator
from itertools import takewhile

from forebay.domain.pipeline import CatchUp, Trigger, TriggerType
from forebay.domain.record import Record
from forebay.policy.cron import cron_times

OF_CLOCK = frozenset({TriggerType.CRON, TriggerType.RATE, TriggerType.AT})
ON_TIME_SECONDS = 60.0  # so late a firing is no missed one: a server was restarted
FIRST_SPAN_SECONDS = 3600.0  # looked back first for the latest firings, doubled until there are enough


class Seen(Record, frozen=True, kw_only=True):
    """What is known of a schedule. ``begun_at``: when it became one, from where a rate counts; ``considered``: up to
    here every firing has been decided on.
    """

    begun_at: float
    considered: float


class Due(Record, frozen=True, kw_only=True):
    """What is to fire at a tick: ``on_time``, and before it ``made_up`` for what was missed, growing fire times; and up
    to where every firing has been decided on then.
    """

    considered: float
    made_up: tuple[float, ...] = ()
    on_time: float | None = None


def fire_times(trigger: Trigger, after: float, *, begun_at: float) -> Iterator[float]:
    """The fire times later than ``after``, growing. ``begun_at``: a rate counts from there."""
    match trigger.type:
        case TriggerType.CRON if trigger.cron is not None:
            yield from cron_times(trigger.cron, trigger.timezone, after)
        case TriggerType.RATE if trigger.every_seconds is not None:
            yield from _rate(trigger.every_seconds, after, begun_at)
        case TriggerType.AT if trigger.at is not None and trigger.at > after:
            yield trigger.at
        case _:
            return


def next_fire_time(trigger: Trigger, after: float, *, begun_at: float) -> float | None:
    """The first fire time later than ``after``."""
    return next(fire_times(trigger, after, begun_at=begun_at), None)


def fires_at(trigger: Trigger, fire_time: float) -> float:
    """The instant of a firing: within the flexible window, spread by name and time, or the fire time itself."""
    if trigger.window_seconds <= 0:
        return fire_time
    digest = hashlib.sha256(f"{trigger.name}:{fire_time!r}".encode()).digest()
    return fire_time + trigger.window_seconds * (int.from_bytes(digest[:8], "big") / 2**64)


def fires_next(trigger: Trigger, now: float, *, begun_at: float) -> float | None:
    """The instant of the next firing, later than now."""
    times = fire_times(trigger, now - trigger.window_seconds, begun_at=begun_at)
    return next((at for fire_time in times if (at := fires_at(trigger, fire_time)) > now), None)


def due(
    trigger: Trigger,
    seen: Seen,
    now: float,
    *,
    catch_up: CatchUp = CatchUp.NONE,
    limit: int = 1,
) -> Due:
    """What is to fire now, of the fire times later than ``seen.considered``.

    Of several that are due the last one is on time if it is at most a minute late; the others were missed.
    """
    wanted = max(1, limit) if catch_up is CatchUp.ALL else 1
    found = _latest(trigger, seen, now, wanted)
    if not found:
        return Due(considered=seen.considered)
    last = found[-1]
    if now - fires_at(trigger, last) <= ON_TIME_SECONDS:
        return Due(considered=last, made_up=tuple(found[:-1]), on_time=last)
    return Due(considered=last, made_up=() if catch_up is CatchUp.NONE else tuple(found))


def _latest(trigger: Trigger, seen: Seen, now: float, wanted: int) -> list[float]:
    """The last so many fire times that are due, growing. It costs what they are, not how long the time was."""
    if trigger.type is TriggerType.RATE and trigger.every_seconds is not None:
        span = trigger.every_seconds * (wanted + 1) + trigger.window_seconds
    else:
        span = FIRST_SPAN_SECONDS + trigger.window_seconds
    while True:
        start = max(seen.considered, now - span)
        times = takewhile(lambda at: fires_at(trigger, at) <= now, fire_times(trigger, start, begun_at=seen.begun_at))
        found = deque(times, maxlen=wanted)
        if len(found) == wanted or start <= seen.considered:
            return list(found)
        span *= 2


def _rate(every_seconds: float, after: float, begun_at: float) -> Iterator[float]:
    number = max(1, int((after - begun_at) // every_seconds))
    while begun_at + number * every_seconds <= after:
        number += 1
    while True:
        yield begun_at + number * every_seconds
        number += 1

"""Schedules: fire times, spreading within a window, and what is made up for after an outage."""

from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.domain.pipeline import CatchUp, Trigger, TriggerType
from forebay.policy.schedules import ON_TIME_SECONDS, Due, Seen, due, fire_times, fires_at, next_fire_time

NOW = datetime(2026, 11, 21, 14, 30, 30, tzinfo=UTC).timestamp()
DAY = 86_400.0
HOURLY = Trigger(name="hourly", type=TriggerType.CRON, cron="0 * * * *")
QUARTERLY = Trigger(name="quarterly", type=TriggerType.RATE, every_seconds=900)


def seen(considered: float, begun_at: float = 0.0) -> Seen:
    return Seen(begun_at=begun_at, considered=considered)


def test_a_rate_counts_from_when_it_became_a_schedule() -> None:
    assert list(islice(fire_times(QUARTERLY, 1000.0, begun_at=1000.0), 2)) == [1900.0, 2800.0]
    assert next_fire_time(QUARTERLY, 1900.0, begun_at=1000.0) == 2800.0
    assert next_fire_time(QUARTERLY, 0.0, begun_at=1000.0) == 1900.0


def test_a_time_fires_once() -> None:
    once = Trigger(name="once", type=TriggerType.AT, at=5000.0)
    assert list(fire_times(once, 4999.0, begun_at=0)) == [5000.0]
    assert list(fire_times(once, 5000.0, begun_at=0)) == []


def test_files_and_events_have_no_fire_times() -> None:
    assert list(fire_times(Trigger(name="f", type=TriggerType.FILES, files="x"), 0, begun_at=0)) == []


@given(fire_time=st.floats(0, 4e9), window=st.floats(0, DAY), name=st.text(max_size=5))
def test_a_firing_happens_within_its_window_and_always_at_the_same_instant(
    fire_time: float, window: float, name: str
) -> None:
    trigger = Trigger(name=name, type=TriggerType.RATE, every_seconds=2 * DAY, window_seconds=window)
    assert fire_time <= fires_at(trigger, fire_time) <= fire_time + window
    assert fires_at(trigger, fire_time) == fires_at(trigger, fire_time)


def test_two_schedules_with_a_window_do_not_fire_together() -> None:
    one, other = (
        Trigger(name=name, type=TriggerType.CRON, cron="0 2 * * *", window_seconds=3600) for name in ("a", "b")
    )
    assert fires_at(one, NOW) != fires_at(other, NOW)


@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_a_firing_that_is_due_fires_on_time_whatever_is_made_up_for(catch_up: CatchUp) -> None:
    at = NOW - 1830  # 14:00
    assert due(HOURLY, seen(at - 60), at + 0.5, catch_up=catch_up, limit=9) == Due(considered=at, on_time=at)


def test_nothing_is_due_before_its_time() -> None:
    assert due(HOURLY, seen(NOW), NOW + 60) == Due(considered=NOW)


def test_a_days_outage_fires_nothing_unless_asked() -> None:
    gone = seen(NOW - DAY)
    last = NOW - 1830  # 14:00
    assert due(HOURLY, gone, NOW) == Due(considered=last)
    assert due(HOURLY, gone, NOW, catch_up=CatchUp.LATEST) == Due(considered=last, made_up=(last,))
    every = due(HOURLY, gone, NOW, catch_up=CatchUp.ALL, limit=100)
    assert every == Due(considered=last, made_up=tuple(last - 3600 * back for back in reversed(range(24))))
    few = due(HOURLY, gone, NOW, catch_up=CatchUp.ALL, limit=3)
    assert few.made_up == (last - 7200, last - 3600, last)


def test_a_restart_of_a_moment_misses_nothing() -> None:
    at = NOW - 1830
    late = at + ON_TIME_SECONDS
    assert due(HOURLY, seen(at - 10), late).on_time == at
    assert due(HOURLY, seen(at - 10), late + 1).on_time is None


def test_ten_years_of_minutes_that_were_missed_cost_no_more_than_those_made_up_for() -> None:
    minutely = Trigger(name="m", type=TriggerType.CRON, cron="* * * * *", timezone="Europe/Berlin")
    found = due(minutely, seen(NOW - 3650 * DAY), NOW, catch_up=CatchUp.ALL, limit=5)
    assert [round(NOW - at) for at in (*found.made_up, found.on_time or 0)] == [270, 210, 150, 90, 30]


def test_a_firing_waits_for_its_instant_within_the_window() -> None:
    daily = Trigger(name="d", type=TriggerType.CRON, cron="0 2 * * *", window_seconds=7200)
    two = datetime(2026, 11, 21, 2, tzinfo=UTC).timestamp()
    at = fires_at(daily, two)
    assert due(daily, seen(two - 60), at - 0.001) == Due(considered=two - 60)
    assert due(daily, seen(two - 60), at) == Due(considered=two, on_time=two)


@settings(max_examples=60, deadline=None)
@given(
    ticks=st.lists(st.floats(0.5, 4000), min_size=1, max_size=25),
    window=st.sampled_from([0.0, 300.0, 850.0]),
    trigger=st.sampled_from([HOURLY, QUARTERLY]),
)
def test_however_it_is_ticked_every_firing_is_decided_on_once_and_in_order(
    ticks: list[float], window: float, trigger: Trigger
) -> None:
    spread = Trigger(
        name="s", type=trigger.type, cron=trigger.cron, every_seconds=trigger.every_seconds, window_seconds=window
    )
    known, now, fired = Seen(begun_at=NOW, considered=NOW), NOW, []
    for tick in ticks:
        now += tick
        found = due(spread, known, now, catch_up=CatchUp.ALL, limit=1000)
        fired += [*found.made_up, *([] if found.on_time is None else [found.on_time])]
        known = Seen(begun_at=NOW, considered=found.considered)
    all_of_them = fire_times(spread, NOW, begun_at=NOW)
    expected = [at for at in islice(all_of_them, 200) if at <= now]
    while expected and fires_at(spread, expected[-1]) > now:
        expected.pop()
    assert fired == expected

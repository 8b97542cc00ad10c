"""Cron expressions across time zones and changes of the clock, against Debian's crontab(5)."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.domain.errors import RequestError
from forebay.policy.cron import cron_times, read_cron, read_zone

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"]
EXPRESSIONS = ["30 2 * * *", "0 2,3 * * *", "*/20 2 * * *", "5 * * * *", "0 0 * * *", "15 0-3 * * *", "45 1 1-7 * SUN"]
NIGHTS = [  # each some hours before a change of some zone's clock, in both directions
    datetime(2026, 3, 28, 18, tzinfo=UTC),
    datetime(2026, 10, 24, 18, tzinfo=UTC),
    datetime(2026, 3, 7, 20, tzinfo=UTC),
    datetime(2026, 10, 31, 20, tzinfo=UTC),
    datetime(2026, 4, 4, 6, tzinfo=UTC),
    datetime(2026, 10, 3, 6, tzinfo=UTC),
    datetime(2026, 4, 4, 20, tzinfo=UTC),
    datetime(2026, 9, 5, 20, tzinfo=UTC),
]


def fired(expression: str, timezone: str, day: datetime, hours: int = 12) -> list[str]:
    """The times of the wall clock at which it fires, with the offset from UTC."""
    place, until = ZoneInfo(timezone), (day + timedelta(hours=hours)).timestamp()
    times = islice(cron_times(expression, timezone, day.timestamp()), 200)
    return [datetime.fromtimestamp(at, place).strftime("%H:%M%z") for at in times if at < until]


def test_a_fixed_time_in_the_skipped_hour_fires_once_at_the_first_instant_after_it() -> None:
    night = datetime(2026, 3, 28, 22, tzinfo=UTC)  # in Berlin the clock goes from 02:00 to 03:00
    assert fired("30 2 * * *", "Europe/Berlin", night) == ["03:00+0200"]
    assert fired("0,30 2 * * *", "Europe/Berlin", night) == ["03:00+0200"]
    assert fired("0 2,3 * * *", "Europe/Berlin", night) == ["03:00+0200"]
    assert fired("30 1,3 * * *", "Europe/Berlin", night) == ["01:30+0100", "03:30+0200"]


def test_a_fixed_time_in_the_doubled_hour_fires_once_at_the_first_of_both() -> None:
    night = datetime(2026, 10, 24, 22, tzinfo=UTC)  # in Berlin the clock goes from 03:00 to 02:00
    assert fired("30 2 * * *", "Europe/Berlin", night) == ["02:30+0200"]
    assert fired("30 1,2,3 * * *", "Europe/Berlin", night) == ["01:30+0200", "02:30+0200", "03:30+0100"]


def test_a_time_with_a_star_follows_the_clock_on_the_wall() -> None:
    spring, autumn = datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 10, 24, 22, 59, tzinfo=UTC)
    assert fired("30 * * * *", "Europe/Berlin", spring, 4) == ["00:30+0100", "01:30+0100", "03:30+0200", "04:30+0200"]
    assert fired("*/30 2 * * *", "Europe/Berlin", spring) == []
    assert fired("30 * * * *", "Europe/Berlin", autumn, 4) == ["01:30+0200", "02:30+0200", "02:30+0100", "03:30+0100"]
    assert fired("*/30 2 * * *", "Europe/Berlin", autumn) == ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]


def test_a_midnight_that_is_skipped_is_told_from_one_that_is_not() -> None:
    eve = datetime(2026, 9, 5, 20, tzinfo=UTC)  # in Santiago the clock goes from 24:00 to 01:00
    assert fired("0 0 * * *", "America/Santiago", eve) == ["01:00-0300"]
    assert fired("*/30 0 6 9 *", "America/Santiago", eve) == []


def test_going_on_in_the_second_of_a_doubled_hour_fires_nothing_of_the_first() -> None:
    second = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 02:15 for the second time
    assert fired("30 2 * * *", "Europe/Berlin", second, 30) == ["02:30+0100"]
    assert next(cron_times("30 2 * * *", "Europe/Berlin", second.timestamp())) > second.timestamp() + 80_000


@settings(max_examples=60, deadline=None)
@given(
    expression=st.sampled_from(EXPRESSIONS),
    timezone=st.sampled_from(ZONES),
    night=st.sampled_from(NIGHTS),
    minutes=st.integers(0, 1200),
)
def test_the_times_grow_and_do_not_depend_on_where_one_begins(
    expression: str, timezone: str, night: datetime, minutes: int
) -> None:
    start, end = night.timestamp(), night.timestamp() + 3 * 86_400
    middle = start + 60 * minutes
    whole = list(takewhile(lambda at: at <= end, cron_times(expression, timezone, start)))
    rest = list(takewhile(lambda at: at <= end, cron_times(expression, timezone, middle)))
    assert all(one < next_one for one, next_one in pairwise(whole))
    assert [at for at in whole if at > middle] == rest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("* * * *", "fields"),
        ("0 0 0 * * *", "fields"),
        ("61 * * * *", "bad minute"),
        ("0 0 30 2 *", "bad day"),
        ("0 0 */20 2 1#5", "no day ever"),
        ("@daily", "fields"),
        (5, "such as"),
        ("", "such as"),
        ("0 " * 300, "fields"),
    ],
)
def test_what_is_no_cron_expression_is_refused_with_the_reason(text: object, said: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_cron(text, "on[0].cron")
    assert said in refused.value.message
    assert refused.value.param == "on[0].cron"


def test_an_expression_is_returned_with_single_spaces() -> None:
    assert read_cron("  0 2\t* *   MON-FRI ", "cron") == "0 2 * * MON-FRI"


def test_a_zone_that_nobody_knows_is_refused() -> None:
    assert read_zone("Europe/Berlin", "timezone") == "Europe/Berlin"
    for name in ("Europe/Berlinn", "../etc/passwd", "Europe", "", None):
        with pytest.raises(RequestError):
            read_zone(name, "timezone")

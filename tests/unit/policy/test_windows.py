"""Daily windows: read, open or not, and when they open next, across midnight and changes of the clock."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.domain.errors import RequestError
from forebay.domain.pipeline import Window
from forebay.policy.windows import is_open, opens_at, read_windows, window_text

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]
NIGHT = Window(from_minute=22 * 60, until_minute=6 * 60, timezone="Europe/Berlin")
EVES = [
    datetime(2026, month, day, tzinfo=UTC).timestamp() for month, day in ((3, 28), (10, 24), (4, 4), (9, 5), (6, 1))
]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_window_is_read_as_it_is_written() -> None:
    assert read_windows("22:00-06:00 Europe/Berlin") == (NIGHT,)
    assert read_windows(["22:00 - 06:00 Europe/Berlin", "12:30-24:00"]) == (
        NIGHT,
        Window(from_minute=750, until_minute=1440),
    )
    assert read_windows(None) == ()
    assert window_text(NIGHT) == "22:00-06:00 Europe/Berlin"


@pytest.mark.parametrize(
    "raw", ["22-06", "25:00-06:00", "22:60-06:00", "06:00-06:00", "24:00-06:00", "22:00-06:00 Berlin", [], [5], 5, {}]
)
def test_what_is_no_window_is_refused(raw: object) -> None:
    with pytest.raises(RequestError) as refused:
        read_windows(raw)
    assert str(refused.value.param).startswith("windows")


def test_a_window_over_midnight_is_open_on_both_sides_of_it() -> None:
    opened = ("2026-06-01T22:00+02:00", "2026-06-01T23:59:59+02:00", "2026-06-02T05:59:59+02:00")
    closed = ("2026-06-01T21:59:59+02:00", "2026-06-02T06:00+02:00", "2026-06-02T12:00+02:00")
    assert [is_open([NIGHT], moment(text)) for text in opened] == [True] * 3
    assert [is_open([NIGHT], moment(text)) for text in closed] == [False] * 3


def test_without_a_window_it_is_always_open() -> None:
    assert is_open((), 0.0)
    assert opens_at((), 17.0) == 17.0


def test_the_next_opening_is_now_or_when_the_first_of_them_opens() -> None:
    noon = Window(from_minute=720, until_minute=780)
    assert opens_at([NIGHT], moment("2026-06-01T23:00+02:00")) == moment("2026-06-01T23:00+02:00")
    assert opens_at([NIGHT], moment("2026-06-01T06:00+02:00")) == moment("2026-06-01T22:00+02:00")
    assert opens_at([NIGHT, noon], moment("2026-06-01T06:00+02:00")) == moment("2026-06-01T12:00+00:00")


def test_a_window_that_the_clock_leaps_over_opens_late_or_the_next_day() -> None:
    before = moment("2026-03-29T00:30+01:00")  # at 02:00 it becomes 03:00
    [leapt] = read_windows("02:00-03:00 Europe/Berlin")
    [cut] = read_windows("02:30-04:00 Europe/Berlin")
    assert opens_at([leapt], before) == moment("2026-03-30T02:00+02:00")
    assert opens_at([cut], before) == moment("2026-03-29T03:00+02:00")


def test_a_window_that_the_clock_goes_back_into_opens_again() -> None:
    [window] = read_windows("01:00-02:30 Europe/Berlin")
    closed = moment("2026-10-25T02:40+02:00")  # at 03:00 it becomes 02:00
    assert not is_open([window], closed)
    assert opens_at([window], closed) == moment("2026-10-25T02:00+01:00")


@settings(max_examples=80, deadline=None)
@given(
    start=st.integers(0, 47),
    length=st.integers(1, 47),
    timezone=st.sampled_from(ZONES),
    eve=st.sampled_from(EVES),
    minutes=st.integers(0, 2000),
)
def test_it_opens_at_the_first_minute_at_which_it_is_open(
    start: int, length: int, timezone: str, eve: float, minutes: int
) -> None:
    window = Window(from_minute=30 * start, until_minute=30 * ((start + length) % 48), timezone=timezone)
    now = eve + 60 * minutes
    first = next(at for at in (now + 60 * step for step in range(4320)) if is_open([window], at))
    assert opens_at([window], now) == first

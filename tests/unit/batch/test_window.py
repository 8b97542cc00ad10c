"""The sliding window's sizes."""

from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.window import (
    LARGEST,
    LARGEST_STEP,
    SMALLEST,
    SOON_SECONDS,
    items_a_step,
    next_window,
    publish_at,
    wake_at,
)

windows = st.just(0) | st.integers(SMALLEST, LARGEST)


@given(windows, st.integers(0, 50_000), st.none() | st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())
def test_a_window_never_shrinks_and_holds_twice_the_slots_within_its_bounds(
    window: int, slots: int, refilled_at: float | None, now: float, is_starved: bool
) -> None:
    size = next_window(window, slots=slots, refilled_at=refilled_at, now=now, is_starved=is_starved)
    assert max(window, SMALLEST) <= size <= LARGEST
    assert size >= min(2 * slots, LARGEST)


def test_a_window_that_empties_soon_is_doubled() -> None:
    assert next_window(512, slots=1, refilled_at=10.0, now=10.0 + SOON_SECONDS / 2) == 1024
    assert next_window(512, slots=1, refilled_at=10.0, now=10.0 + SOON_SECONDS) == 512


def test_a_window_that_the_lane_took_whole_is_doubled_however_long_that_took() -> None:
    assert next_window(512, slots=1, refilled_at=10.0, now=1000.0, is_starved=True) == 1024


def test_a_window_that_was_not_full_yet_does_not_grow() -> None:
    assert next_window(512, slots=1, refilled_at=None, now=10.0, is_starved=True) == 512


@given(st.integers(1, LARGEST), windows, st.booleans())
def test_a_parent_that_waits_is_woken_before_its_window_is_empty(live: int, window: int, is_shrunk: bool) -> None:
    woken = wake_at(live, window, is_shrunk=is_shrunk)
    assert woken <= window // 2
    assert not is_shrunk or woken < live


def test_finished_lines_wait_a_tenth_of_the_batchs_age_to_be_readable() -> None:
    assert [publish_at(0.0, now) - now for now in (0.0, 100.0, 10_000.0)] == [2.0, 10.0, 60.0]


def test_a_step_fits_into_what_a_store_takes_at_once() -> None:
    assert (items_a_step(None), items_a_step(100), items_a_step(1)) == (LARGEST_STEP, 48, 1)
    assert items_a_step(1_000_000) == LARGEST_STEP

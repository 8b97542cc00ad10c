"""Backoff: never at once, never for ever, and never before the target's own word."""

import random

from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.backoff import CEILING_SECONDS, delay_seconds

chances = st.integers(0, 2**32).map(random.Random)


@given(st.integers(-5, 10_000), chances)
def test_a_delay_is_positive_and_bounded(tries: int, chance: random.Random) -> None:
    assert 0 < delay_seconds(tries, chance) <= CEILING_SECONDS


@given(st.integers(1, 12), chances)
def test_delays_grow_with_the_number_of_tries(tries: int, chance: random.Random) -> None:
    least_of_later = min(delay_seconds(tries + 2, chance) for _ in range(20))
    most_of_earlier = max(delay_seconds(tries, chance) for _ in range(20))
    assert least_of_later >= most_of_earlier or most_of_earlier > CEILING_SECONDS / 2


@given(st.floats(0, 1e6), st.integers(1, 50), chances)
def test_retry_after_is_a_floor(retry_after: float, tries: int, chance: random.Random) -> None:
    delay = delay_seconds(tries, chance, retry_after=retry_after)
    assert retry_after <= delay <= retry_after * 1.1 + 0.05


def test_a_crowd_does_not_come_back_in_one_moment() -> None:
    chance = random.Random(7)
    assert len({delay_seconds(3, chance) for _ in range(100)}) > 90

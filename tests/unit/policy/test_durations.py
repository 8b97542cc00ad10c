"""Durations as people write them, and the nearest known names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.durations import UNIT_SECONDS, duration_seconds
from forebay.policy.nearest import hint, nearest


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("1h30m", 5400), ("250ms", 0.25), (" 1.5h ", 5400)],
)
def test_a_duration_is_a_number_with_its_unit_or_several(text: str, seconds: float) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "15", "m", "-5m", "1h 30m", "1y", "5mins", "1e3s", "infs", "nans", "٣s", "9" * 400 + "d"]
)
def test_anything_else_is_none(text: str) -> None:
    assert duration_seconds(text) is None


@given(pieces=st.lists(st.tuples(st.integers(0, 1000), st.sampled_from(list(UNIT_SECONDS))), min_size=1, max_size=4))
def test_a_duration_is_the_sum_of_its_pieces(pieces: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in pieces)
    assert duration_seconds(text) == sum(float(number) * UNIT_SECONDS[unit] for number, unit in pieces)


def test_the_nearest_name_is_found_and_nothing_where_none_is_near() -> None:
    assert nearest("modles", ["models", "routes"]) == "models"
    assert nearest("xyz", ["models", "routes"]) is None
    assert hint("rutes", ["models", "routes"]) == "; did you mean 'routes'?"
    assert hint("x" * 100_000, ["models"]) == ""

"""Ids: unique, sorted by time, and told apart by their prefix."""

import random

from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.ids import ALPHABET, IdSource


@given(st.lists(st.floats(0, 4e9), min_size=2, max_size=50))
def test_ids_grow_whatever_the_clock_does(times: list[float]) -> None:
    remaining = iter(times)
    source = IdSource(lambda: next(remaining), random.Random(1))
    made = [source.new("job") for _ in times]
    assert made == sorted(set(made))


def test_an_id_is_its_prefix_and_26_characters() -> None:
    made = IdSource().new("job")
    assert made.startswith("job_")
    assert len(made) == 30
    assert set(made[4:]) <= set(ALPHABET)
    assert IdSource().new("file").startswith("file-")


def test_two_sources_make_no_id_twice() -> None:
    first, second = IdSource(lambda: 1.0), IdSource(lambda: 1.0)
    assert not {first.new("job") for _ in range(1000)} & {second.new("job") for _ in range(1000)}

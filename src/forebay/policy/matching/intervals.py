"""Intervals: which of many ranges of numbers hold a number, at a cost that follows how many do."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """Both ends belong to it."""

    low: int
    high: int
    item: int


class Intervals:
    """A centred interval tree; it never changes.

    Each node keeps the intervals over its centre, by their lower ends and by their upper ones, so that a walk along
    either stops at the first that lacks the number.
    """

    __slots__ = ("_above", "_below", "_by_high", "_by_low", "_centre")

    def __init__(self, intervals: Sequence[Interval]) -> None:
        middles = sorted((one.low + one.high) // 2 for one in intervals)
        self._centre = middles[len(middles) // 2]
        here = [one for one in intervals if one.low <= self._centre <= one.high]
        self._by_low = sorted(here)
        self._by_high = sorted(here, key=lambda one: -one.high)
        self._below = _tree(one for one in intervals if one.high < self._centre)
        self._above = _tree(one for one in intervals if one.low > self._centre)

    def holding(self, number: int) -> Iterator[int]:
        """The items of the intervals that hold the number."""
        node: Intervals | None = self
        while node is not None:
            if number <= node._centre:
                for one in node._by_low:
                    if one.low > number:
                        break
                    yield one.item
                node = node._below
            else:
                for one in node._by_high:
                    if one.high < number:
                        break
                    yield one.item
                node = node._above


def _tree(intervals: Iterable[Interval]) -> Intervals | None:
    found = list(intervals)
    return Intervals(found) if found else None

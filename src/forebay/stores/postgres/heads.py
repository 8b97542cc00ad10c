"""Heads: where in ``ready`` a claim begins to look, so that it does not wade through what was claimed before.

What is deleted leaves entries in the index, which go only when no older transaction can see them any more: with one
held open, each claim would pass over all claims since. A process remembers, for each queue and urgency, up to where it
has claimed, and begins there. New entries stand above: their rank is higher than any that was claimed (`placing`). What
can come in below is a job whose transaction took its rank earlier and was committed later, or one that another claimer
held and gave back. The first is why a process begins only where it had claimed to ``LAG_SECONDS`` ago; whatever is left
is found by a look at the whole queue, every ``WHOLE_SECONDS``, or less often if that look takes long. Leases that have
ended are passed over likewise: a lane's are counted from the oldest on that was there, since fences only grow; with a
look at the whole queue, all of them.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

LAG_SECONDS = 0.5  # a rank is taken some milliseconds before its commit
WHOLE_SECONDS = 1.0
WHOLE_SHARE = 0.05  # of the time, at most, goes into looks at whole queues
MOST_URGENCIES = 16  # remembered of one queue
LEAST, MOST = -(2**62), 2**62  # below and above every urgency

Position = tuple[int, float, str]  # urgency, rank, job: the order of claims


class Span(NamedTuple):
    """A part of a queue: after a position, and before the urgency ``below``."""

    urgency: int
    rank: float
    job_id: str
    below: int


WHOLE = (Span(LEAST, float("-inf"), "", MOST),)


class Take(NamedTuple):
    """What one claim took out of one queue: committed, it says where the next may begin."""

    queue: str
    positions: Collection[Position]
    is_whole: bool  # it looked at the whole queue
    is_full: bool  # it got as many as it asked for: there may be more
    seconds: float


@dataclass(slots=True)
class _Mark:
    """Of one urgency: everything up to ``start`` was claimed ``LAG_SECONDS`` ago, up to ``newest`` by now."""

    newest: Position
    since: float  # when ``newest`` was claimed
    start: Position | None = None


@dataclass(slots=True)
class _Head:
    """Of one queue."""

    whole_at: float = 0.0
    marks: dict[int, _Mark] = field(default_factory=dict)


class Heads:
    """What one process knows of its queues; any thread. ``now``: the clock by which looks are timed, too."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._lock = threading.Lock()
        self._heads: dict[str, _Head] = {}
        self._oldest: dict[str, int] = {}

    def spans(self, queue: str) -> Sequence[Span]:
        """The parts of the queue in which there may be something, in the order of claims."""
        with self._lock:
            head, now = self._heads.get(queue), self.now()
            if head is None or now >= head.whole_at:
                return WHOLE
            starts = [start for mark in head.marks.values() if (start := _start(mark, now)) is not None]
        return _spans(sorted(starts))

    def oldest(self, lane: str) -> int:
        """The fence from which on a lane's leases are to be counted: those before it have ended."""
        return self._oldest.get(lane, 0)

    def learn(self, takes: Collection[Take], oldest: Mapping[str, int]) -> None:
        """After the commit. ``oldest``: the fence of the oldest lease by lane, counted while the lane was locked."""
        with self._lock:
            self._oldest.update(oldest)
            for take in takes:
                self._learn(take)

    def _learn(self, take: Take) -> None:
        head, now = self._heads.setdefault(take.queue, _Head()), self.now()
        last: dict[int, Position] = {}
        for position in take.positions:
            last[position[0]] = max(position, last.get(position[0], position))
        if take.is_whole and not (take.is_full and _is_behind(head, max(last.values()))):
            head.whole_at = now + max(WHOLE_SECONDS, take.seconds / WHOLE_SHARE)
        for urgency, position in last.items():
            mark = head.marks.get(urgency)
            if mark is None:
                head.marks[urgency] = _Mark(position, now)
            else:
                _advance(mark, position, now)
        if len(head.marks) > MOST_URGENCIES:
            head.marks.clear()


def _start(mark: _Mark, now: float) -> Position | None:
    return mark.newest if now >= mark.since + LAG_SECONDS else mark.start


def _advance(mark: _Mark, position: Position, now: float) -> None:
    """The newest stands for as long as the lag before another takes its place."""
    if now >= mark.since + LAG_SECONDS:
        mark.start, mark.newest, mark.since = mark.newest, max(mark.newest, position), now


def _is_behind(head: _Head, last: Position) -> bool:
    """A look at the whole queue ended, by its number, before it came to where claims begin: the next goes on."""
    mark = head.marks.get(last[0])
    return mark is not None and mark.start is not None and last < mark.start


def _spans(starts: Sequence[Position]) -> Sequence[Span]:
    """Between the starts, everything: other urgencies may have come in."""
    edges = [WHOLE[0][:3], *starts]
    belows = [start[0] for start in starts] + [MOST]
    return [Span(*edge, below) for edge, below in zip(edges, belows, strict=True)]

"""Suspects: the queues where jobs wait that twice took their worker down with them, and must run alone.

To run one alone a worker lets its slots empty, and claims nothing meanwhile. How long that takes is up to the calls
under way, so it waits with measure: in vain, it works on for several times as long, and then waits twice as long.
"""

from collections.abc import Iterable, Sequence

from forebay.domain.change import Want

PAUSE_SECONDS = 5.0  # after an attempt in vain: another worker had it, or its lane was full; emptying the slots costs
FIRST_WAIT_SECONDS = 30.0  # for the slots to empty
TURN_SECONDS = 5.0  # for suspects one after the other, once the slots are empty; then others have as long
LONGEST_WAIT_SECONDS = 86_400.0
WORK_FACTOR = 5.0  # times a wait in vain: a suspect costs at most a sixth of the work beside it


class Suspects:
    """What the last sweep saw. A queue that can't be claimed from now holds nobody up."""

    def __init__(self) -> None:
        self._queues: frozenset[str] = frozenset()
        self._paused_at: float | None = None
        self._pause_seconds = PAUSE_SECONDS
        self.wait_seconds = FIRST_WAIT_SECONDS  # how long the slots may take to empty now

    def stand_in(self, queues: Iterable[str], now: float) -> None:
        """Takes the queues that a sweep named."""
        if self._paused_at is not None and 0 <= now - self._paused_at < self._pause_seconds:
            return
        self._paused_at = None
        self._queues = frozenset(queues)

    def among(self, wants: Iterable[Want]) -> list[Want]:
        return [want for want in wants if want.queue in self._queues]

    def are_wanted(self, wants: Sequence[Want]) -> bool:
        """Whether one may be claimed now: its lane has a free slot, and takes calls."""
        return bool(self._queues) and bool(self.among(wants))

    def were_tried(self, *, is_found: bool, now: float, seconds: float = 0.0) -> None:
        """Forgets them until the next sweep; in vain: for a while; else for as long as their turn took."""
        self._queues = frozenset()
        self._paused_at = now
        self._pause_seconds = seconds if is_found else PAUSE_SECONDS
        self.wait_seconds = FIRST_WAIT_SECONDS

    def were_waited_for(self, now: float) -> None:
        """The slots did not empty in time: a call under way is long. The next wait is longer, until one is enough."""
        self._queues = frozenset()
        self._paused_at = now
        self._pause_seconds = WORK_FACTOR * self.wait_seconds
        self.wait_seconds = min(2 * self.wait_seconds, LONGEST_WAIT_SECONDS)

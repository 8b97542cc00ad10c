"""Suspects: the queues where jobs wait that twice took their worker down with them, and must run alone."""

from collections.abc import Iterable, Sequence

from forebay.domain.change import Want

PAUSE_SECONDS = 5.0  # after an attempt in vain: another worker had it, or its lane was full; emptying the slots costs


class Suspects:
    """What the last sweep saw. A queue that can't be claimed from now holds nobody up."""

    def __init__(self) -> None:
        self._queues: frozenset[str] = frozenset()
        self._paused_at: float | None = None

    def stand_in(self, queues: Iterable[str], now: float) -> None:
        """Takes the queues that a sweep named."""
        if self._paused_at is not None and 0 <= now - self._paused_at < PAUSE_SECONDS:
            return
        self._paused_at = None
        self._queues = frozenset(queues)

    def among(self, wants: Iterable[Want]) -> list[Want]:
        return [want for want in wants if want.queue in self._queues]

    def are_wanted(self, wants: Sequence[Want]) -> bool:
        """Whether one may be claimed now: its lane has a free slot, and takes calls."""
        return bool(self._queues) and bool(self.among(wants))

    def were_tried(self, *, is_found: bool, now: float) -> None:
        """Forgets them until the next sweep; in vain: for a while."""
        self._queues = frozenset()
        self._paused_at = None if is_found else now

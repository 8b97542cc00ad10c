"""Vigil: which workers are dead. Neither a clock that was set nor a store that was away buries a live one."""

from collections.abc import Callable, Iterable
from time import monotonic

from forebay.domain.change import Worker

PATIENCE_SECONDS = 5.0  # a heartbeat's longest pause and its way to the store, twice


class Vigil:
    """Watches heartbeats by a clock that nobody sets: one that moved within ``patience_seconds`` is a live worker's,
    however late the wall clock makes it look. 0: the wall clock alone decides.

    Looks further apart than that tell nothing of what lies between: the watch begins anew.
    """

    def __init__(self, patience_seconds: float = 0.0, steady: Callable[[], float] = monotonic) -> None:
        self._patience = patience_seconds
        self._steady = steady
        self._seen: dict[str, tuple[float, float]] = {}  # each heartbeat, and when it was first seen
        self._looked_at = float("-inf")

    def dead(self, workers: Iterable[Worker], now: float) -> list[str]:
        """The ids of those whose heartbeats ran out by ``now`` and have not moved while they were watched."""
        looked_at = self._steady()
        known = self._seen if looked_at - self._looked_at <= self._patience else {}
        self._looked_at = looked_at
        self._seen = {}
        found: list[str] = []
        for one in workers:
            beat, since = known.get(one.id, (one.heartbeat_at, looked_at))
            if beat != one.heartbeat_at:
                since = looked_at
            self._seen[one.id] = (one.heartbeat_at, since)
            if one.heartbeat_at + one.lease_seconds < now and looked_at - since >= self._patience:
                found.append(one.id)
        return found

"""Vigil: which workers are dead. Neither a clock that was set nor a store that was away buries a live one."""

from collections.abc import Callable, Iterable
from time import monotonic

from forebay.domain.change import Worker

PATIENCE_SECONDS = 5.0  # a heartbeat's longest pause and its way to the store, twice


class Vigil:
    """Watches late workers for ``patience_seconds`` of a clock that nobody sets: one whose heartbeat moves meanwhile
    lives, however late the wall clock makes it look. 0: the wall clock alone decides.

    Looks further apart than that tell nothing of what lies between: the watch begins anew.
    """

    def __init__(self, patience_seconds: float = 0.0, steady: Callable[[], float] = monotonic) -> None:
        self._patience = patience_seconds
        self._steady = steady
        self._late: dict[str, tuple[float, float]] = {}  # the heartbeat, and when it was first seen to be late
        self._looked_at = float("-inf")

    def dead(self, workers: Iterable[Worker], now: float) -> list[str]:
        """The ids of those whose heartbeats ran out by ``now`` and have not moved while they were watched."""
        looked_at = self._steady()
        known = self._late if looked_at - self._looked_at <= self._patience else {}
        self._looked_at = looked_at
        self._late = {}
        for one in workers:
            if one.heartbeat_at + one.lease_seconds < now:
                beat, since = known.get(one.id, (one.heartbeat_at, looked_at))
                self._late[one.id] = (beat, since) if beat == one.heartbeat_at else (one.heartbeat_at, looked_at)
        return [worker_id for worker_id, (_, since) in self._late.items() if looked_at - since >= self._patience]

"""How long the queues are, for whoever asks often: a scrape or a console must not count a million jobs each time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from forebay.domain.change import Depth
from forebay.domain.errors import StoreUnavailable

log = structlog.get_logger(__name__)
QUICK_SECONDS = 0.02  # a count that takes no longer is made for each who asks
REST = 20  # times its own length passes between two long counts: at most 5 % of a reader's time


class QueueDepths:
    """Counts when asked while that is quick; else gives the last count, and counts beside. Who asks at once shares."""

    def __init__(
        self, count: Callable[[], Awaitable[list[Depth]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count = count
        self._clock = clock
        self._depths: list[Depth] = []
        self._took_seconds = 0.0
        self._counted_at: float | None = None
        self._counting: asyncio.Task[None] | None = None

    async def latest(self) -> list[Depth]:
        """Returns the depths, at most ``REST`` times as old as it takes to count them.

        Raises: StoreUnavailable: there is no count yet.
        """
        age = None if self._counted_at is None else self._clock() - self._counted_at
        is_fresh = age is not None and self._took_seconds > QUICK_SECONDS and age < REST * self._took_seconds
        if not is_fresh and self._counting is None:
            self._counting = asyncio.create_task(self._recount(), name="depths")
            self._counting.add_done_callback(self._counted)
        if self._counting is not None and (age is None or self._took_seconds <= QUICK_SECONDS):
            await asyncio.shield(self._counting)
        return self._depths

    async def close(self) -> None:
        """Breaks off a count under way."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait([self._counting])

    async def _recount(self) -> None:
        began = self._clock()
        self._depths = await self._count()
        self._counted_at = self._clock()
        self._took_seconds = self._counted_at - began

    def _counted(self, counting: asyncio.Task[None]) -> None:
        self._counting = None
        error = None if counting.cancelled() else counting.exception()
        if isinstance(error, StoreUnavailable):
            log.error("store_unavailable", verb="depths", reason=str(error))

"""Gate: claimed jobs that wait for a slot of a lane whose concurrency is learned, so that no slot waits for a claim.

They are not begun: broken off, or sent away, they go back as they came.
"""

import asyncio
import math
from collections import deque

AHEAD_SHARE = 0.5  # of the slots, at most: what waits here is kept from other workers
SMOOTHING = 0.2


class Gate:
    """The jobs of one lane that wait, by fence, in the order of their claims; with the tokens that each will take."""

    def __init__(self) -> None:
        self._row: deque[tuple[int, int]] = deque()
        self._waiting: dict[int, asyncio.Future[bool]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, fence: int, tokens: int) -> None:
        self._waiting[fence] = asyncio.get_running_loop().create_future()
        self._row.append((fence, tokens))

    async def passed(self, fence: int) -> bool:
        """Waits until the job may be begun; False: it is to go back."""
        waiting = self._waiting.get(fence)
        return waiting is None or await waiting

    def discard(self, fence: int) -> bool:
        """Forgets a job that gave up. True if it waited here."""
        return self._waiting.pop(fence, None) is not None

    def let_in(self) -> int | None:
        """Lets the next one in and returns its tokens; None if nobody waits."""
        while self._row:
            fence, tokens = self._row.popleft()
            waiting = self._waiting.pop(fence, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(True)
                return tokens
        return None

    def send_away(self) -> None:
        """Everybody goes back; each is forgotten as it leaves."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(False)
        self._row.clear()


class ClaimTime:
    """How long a claim takes, smoothed."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def took(self, seconds: float) -> None:
        self.seconds += SMOOTHING * (seconds - self.seconds)

    def ahead(self, limit: int, latency_seconds: float) -> int:
        """How many calls end while a claim is under way: so many jobs may wait."""
        ending = math.ceil(limit * self.seconds / max(latency_seconds, 1e-3))
        return min(ending, math.ceil(limit * AHEAD_SHARE))

"""Whether a target slows down without doing more: rising latency with no gain in throughput.

Latency alone says little: a server that batches answers slower and does far more. So a round's latency is held against
the long-term best, and its rate against the rate at clearly lower limits.
"""

import math

SLOW_FACTOR = 1.5  # an average latency above so many times the best
SLOW_ROUNDS = 3  # in a row, before it counts: answers differ in length
GAIN = 0.35  # twice the calls must bring 2 ** GAIN of the rate; a server that batches brings about 2 ** 0.5
FORGETTING_SECONDS = 1200.0  # in which the best latency is forgotten
SMALLEST_ROUND = 8
SMALLEST_LIMIT = 4  # below it there is nothing to win by going lower
STEP = 1.5  # limits whose ratio is below it share a rate
SMOOTHING = 0.3
PLATEAU_SHARE = 0.9  # of the rate before a cut: at so much of it, the cut has cost nothing


class Slowing:
    """Rounds of one target. A round has as many successes as the limit."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._size = SMALLEST_ROUND
        self._count = 0
        self._latencies = 0.0
        self._best: float | None = None
        self._rates: dict[int, float] = {}
        self._slow_rounds = 0
        self._plateau: float | None = None  # the rate at the last limit that was too high

    @property
    def is_suspected(self) -> bool:
        """The last round was slow without gain: not the time to grow."""
        return self._slow_rounds > 0

    def is_in_vain(self, now: float, latency_seconds: float, limit: int) -> bool:
        """Counts a success under a full limit; True when the limit has been too high for several rounds."""
        if self._started is None:
            self._started, self._size = now, max(limit, SMALLEST_ROUND)
            return False
        self._count += 1
        self._latencies += latency_seconds
        if self._count < self._size or now <= self._started:
            return False
        average = self._latencies / self._count
        rate = self._count / (now - self._started)
        drift = 1 + (now - self._started) / FORGETTING_SECONDS
        self._started, self._count, self._latencies = now, 0, 0.0
        self._size = max(limit, SMALLEST_ROUND)
        self._best = average if self._best is None else min(average, self._best * drift)
        # Growth passes the levels below too fast to know their rates: a cut that cost nothing is known to be followed.
        if self._plateau is not None and rate < PLATEAU_SHARE * self._plateau:
            self._plateau = None
        is_for_nothing = not self._has_gained(limit, rate) or self._plateau is not None
        is_slow = average > SLOW_FACTOR * self._best and limit > SMALLEST_LIMIT and is_for_nothing
        self._slow_rounds = self._slow_rounds + 1 if is_slow else 0
        if self._slow_rounds < SLOW_ROUNDS:
            return False
        self._slow_rounds = 0
        self._plateau = rate
        return True

    def _has_gained(self, limit: int, rate: float) -> bool:
        band = int(math.log(limit, STEP))
        known = self._rates.get(band)
        self._rates[band] = rate if known is None else known + SMOOTHING * (rate - known)
        return all(
            self._rates[band] >= self._rates[other] * STEP ** (GAIN * (band - other))
            for other in (band - 2, band - 3)
            if other in self._rates
        )

"""Learned concurrency: how many calls a target takes at once, found without being told.

Grows by half per round trip until the target refuses or slows down; then remembers that ceiling, stays at it, and
probes above it now and then, more seldom each time it is refused. The idea is TCP's (additive increase, multiplicative
decrease, slow start; RFC 5681) with the memory of CUBIC (RFC 9438), because a refusal here costs a pause of seconds.
"""

FIRST_LIMIT = 8.0
MOST = 4096
GROWTH = 1.5  # per round trip, before the first refusal
CLIMB = 1.1  # per round trip, up to a known ceiling
DEEPEST_CUT = 0.5  # per round trip
FIRST_PROBE_SECONDS = 10.0
LONGEST_PROBE_SECONDS = 120.0
SHORTEST_ROUND_SECONDS = 0.02
SLOW_FACTOR = 2.0  # an average latency above so many times the best is an overloaded target
SLOW_ROUNDS = 3  # in a row, before it counts: answers differ in length
BEST_DRIFT = 1.005  # per round: the best latency is forgotten slowly
SMOOTHING = 0.2
FULL_SHARE = 0.9  # a limit that is not used up says nothing about more


class LearnedConcurrency:
    """State of one target. Every method takes the time; none asks for it."""

    def __init__(self, known: int | None = None) -> None:
        self._most = float(known or MOST)
        self._limit = float(known) if known else FIRST_LIMIT
        self._ceiling: float | None = float(known) if known else None
        self._probe_at = 0.0
        self._probe_pause = FIRST_PROBE_SECONDS
        self._step = 1.0
        self._latency: float | None = None
        self._best: float | None = None
        self._slow_rounds = 0
        self._started = 0.0
        self._successes = self._refusals = self._peak = 0
        self._latencies = 0.0

    @property
    def limit(self) -> int:
        """How many calls may be under way."""
        return max(1, int(self._limit))

    def succeeded(self, now: float, latency_seconds: float, in_flight: int) -> None:
        """Counts an answer, whatever its status, that the target did not refuse for want of room."""
        self._successes += 1
        self._latencies += latency_seconds
        known = self._latency
        self._latency = latency_seconds if known is None else known + SMOOTHING * (latency_seconds - known)
        self._seen(now, in_flight)

    def refused(self, now: float, in_flight: int) -> None:
        """Counts a 429 or 503. A burst of them is one event: calls of one round were sent under one limit."""
        self._refusals += 1
        self._seen(now, in_flight)

    def _seen(self, now: float, in_flight: int) -> None:
        self._peak = max(self._peak, in_flight)
        if self._started == 0.0:
            self._started = now
        if now - self._started >= max(self._latency or 0.0, SHORTEST_ROUND_SECONDS):
            self._end_round(now)

    def _end_round(self, now: float) -> None:
        if self._refusals:
            self._cut(now)
        elif self._is_slowing():
            self._back_off(now)
        elif self._peak >= FULL_SHARE * int(self._limit):
            self._grow(now)
        self._limit = min(max(self._limit, 1.0), self._most)
        self._begin_round(now)

    def _cut(self, now: float) -> None:
        share = self._refusals / (self._refusals + self._successes)
        used = min(self._limit, float(self._peak))
        self._limit = used * max(1.0 - share, DEEPEST_CUT) if share > 1 / used else used - 1
        self._ceiling = self._limit
        self._postpone(now)

    def _back_off(self, now: float) -> None:
        self._limit *= 0.8
        self._ceiling = self._limit
        self._slow_rounds = 0
        self._postpone(now)

    def _grow(self, now: float) -> None:
        if self._ceiling is None:
            self._limit *= GROWTH
        elif self._limit < self._ceiling:
            self._limit = min(self._ceiling, max(self._limit + 1, self._limit * CLIMB))
        elif now >= self._probe_at and self._limit < self._most:
            self._limit += self._step
            self._ceiling = self._limit
            self._step = min(self._step * 2, self._limit * (GROWTH - 1) + 1)

    def _postpone(self, now: float) -> None:
        self._step = 1.0
        self._probe_at = now + self._probe_pause
        self._probe_pause = min(self._probe_pause * 2, LONGEST_PROBE_SECONDS)

    def _is_slowing(self) -> bool:
        if not self._successes:
            return False
        average = self._latencies / self._successes
        best = average if self._best is None else min(average, self._best * BEST_DRIFT)
        self._best = best
        is_slow = average > SLOW_FACTOR * best and self._limit > FIRST_LIMIT
        self._slow_rounds = self._slow_rounds + 1 if is_slow else 0
        return self._slow_rounds >= SLOW_ROUNDS

    def _begin_round(self, now: float) -> None:
        self._started = now
        self._successes = self._refusals = self._peak = 0
        self._latencies = 0.0

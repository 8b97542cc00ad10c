"""Circuit breaker: stops calls to a target that keeps failing, and probes it until it answers again."""

import random

FAILURES_TO_OPEN = 5  # in a row
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
JITTER = 0.2
MAX_EXPONENT = 10


class Breaker:
    """Closed; after failures in a row open; after a pause half-open, which lets one probe through."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._failures = 0
        self._openings = 0
        self._retry_at: float | None = None

    @property
    def retry_at(self) -> float | None:
        """When the next probe may be sent; None while closed."""
        return self._retry_at

    def is_open(self, now: float) -> bool:
        return self._retry_at is not None and now < self._retry_at

    def is_half_open(self, now: float) -> bool:
        return self._retry_at is not None and now >= self._retry_at

    def succeeded(self) -> None:
        """Any answer of a working target closes it, a refusal of the request too."""
        self._failures = self._openings = 0
        self._retry_at = None

    def failed(self, now: float) -> None:
        """Counts a failure that says something of the target; calls sent before it opened do not lengthen its pause."""
        self._failures += 1
        if self.is_open(now) or self._failures < FAILURES_TO_OPEN:
            return
        exponent = min(self._openings, MAX_EXPONENT)
        pause = min(FIRST_PAUSE_SECONDS * float(1 << exponent), LONGEST_PAUSE_SECONDS)
        self._retry_at = now + pause * (1 + JITTER * (2 * self._chance.random() - 1))
        self._openings += 1

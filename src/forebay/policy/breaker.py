"""Circuit breaker: stops calls to a target that keeps failing, and probes it until it answers again."""

import random

WEIGHT_TO_OPEN = 10  # of failures in a row
REFUSED_WEIGHT = 2  # nothing answered at all: surer than a 5xx or a time-out, which a request may cause
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
JITTER = 0.2
MAX_EXPONENT = 10


class Breaker:
    """Closed; after failures in a row open; after a pause half-open, which lets one probe through at a time.

    Calls that were under way when it opened say nothing of the probe, however long they hang: ``probes_out`` leaves
    them out.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._weight = 0
        self._openings = 0
        self._opened_at = 0.0
        self._retry_at: float | None = None
        self._stale = 0  # calls still under way that were sent before it opened

    @property
    def retry_at(self) -> float | None:
        """When the next probe may be sent; None while closed."""
        return self._retry_at

    def is_open(self, now: float) -> bool:
        return self._retry_at is not None and now < self._retry_at

    def is_half_open(self, now: float) -> bool:
        return self._retry_at is not None and now >= self._retry_at

    def probes_out(self, in_flight: int) -> int:
        """How many of the calls under way were sent since it opened."""
        return max(0, in_flight - self._stale)

    def succeeded(self) -> None:
        """Any answer of a working target closes it, a refusal of the request too."""
        self._weight = self._openings = self._stale = 0
        self._retry_at = None

    def failed(self, now: float, *, sent_at: float, in_flight: int = 1, is_refused: bool = False) -> None:
        """Counts a failure that says something of the target; one sent before it opened does not lengthen its pause.

        ``in_flight`` counts the failed call.
        """
        self._weight += REFUSED_WEIGHT if is_refused else 1
        if self._retry_at is not None and sent_at < self._opened_at:
            self._stale = max(0, self._stale - 1)
            return
        if self.is_open(now) or self._weight < WEIGHT_TO_OPEN:
            return
        if self._retry_at is None:
            self._stale = max(0, in_flight - 1)
        pause = min(FIRST_PAUSE_SECONDS * float(1 << min(self._openings, MAX_EXPONENT)), LONGEST_PAUSE_SECONDS)
        self._opened_at = now
        self._retry_at = now + pause * (1 + JITTER * (2 * self._chance.random() - 1))
        self._openings += 1

    def dropped(self, *, sent_at: float) -> None:
        """Counts a call that ended without saying anything of the target (it was broken off)."""
        if self._retry_at is not None and sent_at < self._opened_at:
            self._stale = max(0, self._stale - 1)

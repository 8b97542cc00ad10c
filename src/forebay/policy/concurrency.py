"""Learned concurrency: how many calls a target takes at once, found without being told.

Grows by half per round trip until the target refuses or slows down without gain; then remembers that ceiling, stays
just under it, and probes it now and then, more seldom each time it is refused. The idea is TCP's (slow start, additive
increase, multiplicative decrease; RFC 5681) with the memory of CUBIC (RFC 9438), because a refusal here may cost a
pause of seconds. A refused call that was sent before the last cut belongs to a burst that was answered already.
"""

from forebay.policy.slowing import Slowing

FIRST_LIMIT = 4.0
MOST = 4096
GROWTH = 0.5  # per success, before the first refusal: by half per round trip
CLIMB = 0.1  # per round trip, up to a known ceiling
DEEPEST_CUT = 0.7  # per cut
SLOW_CUT = 0.8
FIRST_PROBE_SECONDS = 5.0
LONGEST_PROBE_SECONDS = 40.0
PROBE_SUCCESSES = 150  # between probes: one refused probe stays below one call in a hundred
PROBE_PAUSES = 20  # a probe that costs a pause of so long is made at most every so many pauses
FULL_SHARE = 0.9  # a limit that is not used up says nothing about more
VOUCHING = 3  # successes at a full limit: the calls sent in their place were not refused
WALL_STRIKES = 4  # refusals in a row: a wall, and no chance
VAIN_CUTS = 4  # so many cuts soon after each other that did not help: the refusals are not about concurrency
SOON_SUCCESSES = 100
DEEPEST_BURST = 0.3  # of the limit before it: what still runs shows how many there is room for
RAMP_SECONDS = 0.03  # after a refusal the slots come back doubling, so that a lesser room refuses few
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 30.0
MAX_EXPONENT = 10


class LearnedConcurrency:
    """State of one target. Every method takes the time; none asks for it. ``in_flight`` counts the reported call."""

    def __init__(self, known: int | None = None) -> None:
        self._most = float(known or MOST)
        self._limit = float(known) if known else FIRST_LIMIT
        self._ceiling: float | None = None  # the least number that was refused
        self._step = 1.0
        self._probe_at = 0.0
        self._probe_gap = FIRST_PROBE_SECONDS
        self._raised_at: float | None = None  # the probe under way
        self._held = 0  # successes of calls sent since
        self._since_probe = 0
        self._cut_at = float("-inf")
        self._floor = 1.0  # how deep the present cut may go
        self._ramp: tuple[float, int] | None = None  # the time and the calls under way from which slots come back
        self._is_ramp_due = False
        self._noise = Noise(self._limit)
        self._slowing = Slowing()

    @property
    def limit(self) -> int:
        """How many calls may be under way."""
        return max(1, int(self._limit))

    def slots(self, now: float, in_flight: int) -> int:
        """How many more calls may be sent now; ``in_flight`` are under way."""
        if self._is_ramp_due:
            self._ramp, self._is_ramp_due = (now, in_flight), False
        room = self.limit
        if self._ramp is not None:
            since, base = self._ramp
            ramped = base + (1 << min(max(int((now - since) / RAMP_SECONDS), 0), MAX_EXPONENT))
            if ramped >= room:
                self._ramp = None
            room = min(room, ramped)
        return max(0, room - in_flight)

    def ramps_at(self, now: float) -> float | None:
        """When a ramp's next slots come; None if there is no ramp."""
        return None if self._ramp is None else now + RAMP_SECONDS

    def succeeded(self, now: float, latency_seconds: float, in_flight: int) -> None:
        """Counts an answer of a target that had room for the call."""
        self._since_probe += 1
        is_full = in_flight >= FULL_SHARE * self.limit
        self._noise.succeeded(is_sending=is_full and in_flight <= self.limit)
        if not is_full:
            return
        if self._slowing.is_in_vain(now, latency_seconds, self.limit):
            self._ceiling = self._limit
            self._set(self._limit * SLOW_CUT)
            self._postpone(now, 0.0)
        elif not self._slowing.is_suspected:
            self._grow(now, now - latency_seconds)

    def refused(self, now: float, latency_seconds: float, in_flight: int, pause_seconds: float = 0.0) -> float:
        """Counts a 429 or 503, and returns how long nothing should be sent: what the target asked for, or, under a
        row of refusals, our own growing pause.
        """
        room = float(max(in_flight - 1, 1))
        if now - latency_seconds < self._cut_at:
            if not self._noise.is_noisy:
                self._set(max(self._floor, min(self._limit, room)))
                self._ceiling = min(self._ceiling or self._most, max(self._limit + 1, float(in_flight)))
            return pause_seconds
        strikes = self._noise.refused(self._limit, is_probe=self._raised_at is not None)
        self._cut_at = now
        if self._noise.is_noisy:
            self._ceiling = self._noise.wall
            self._set(max(self._limit, self._noise.anchor))
            return pause_seconds
        self._cut(room, in_flight, strikes)
        self._postpone(now, pause_seconds)
        if strikes < 2:
            return pause_seconds
        own = FIRST_PAUSE_SECONDS * float(1 << min(strikes - 1, MAX_EXPONENT))
        return max(pause_seconds, min(own, LONGEST_PAUSE_SECONDS))

    def _cut(self, room: float, in_flight: int, strikes: int) -> None:
        self._ceiling = max(2.0, min(self._limit, float(in_flight)))
        self._floor = max(1.0, self._limit * DEEPEST_BURST)
        cut = self._limit * DEEPEST_CUT
        self._set(cut if strikes > 1 else max(cut, min(self._limit - 1, room)))
        self._is_ramp_due = True

    def _grow(self, now: float, sent_at: float) -> None:
        if self._ceiling is None:
            self._set(self._limit + GROWTH)
        elif self._limit + 1 < self._ceiling:
            self._set(min(self._ceiling - 1, self._limit + max(1 / self._limit, CLIMB)))
        elif self._raised_at is not None:
            self._held += sent_at >= self._raised_at
            if self._held >= self.limit:
                self._pass_ceiling(now)
        elif self._limit < self._most and now >= self._probe_at and self._since_probe >= PROBE_SUCCESSES:
            self._raise(now)

    def _pass_ceiling(self, now: float) -> None:
        """The probe held for a round: the target has grown, so the next follows at once, and is wider."""
        self._step = min(self._step * 2, max(1.0, self._limit * GROWTH))
        self._probe_gap = FIRST_PROBE_SECONDS
        if self._limit < self._most:
            self._raise(now)

    def _raise(self, now: float) -> None:
        self._set(int(self._limit) + self._step)
        self._ceiling = self._limit
        self._raised_at = now
        self._held = 0

    def _postpone(self, now: float, pause_seconds: float) -> None:
        self._step = 1.0
        self._raised_at = None
        self._since_probe = 0
        self._probe_at = now + max(self._probe_gap, PROBE_PAUSES * pause_seconds)
        self._probe_gap = min(self._probe_gap * 2, LONGEST_PROBE_SECONDS)

    def _set(self, limit: float) -> None:
        self._limit = min(max(limit, 1.0), self._most)


class Noise:
    """Tells a wall, which refuses in a row, from refusals that come now and then at every limit."""

    def __init__(self, anchor: float) -> None:
        self.is_noisy = False
        self.wall: float | None = None  # the last limit that was refused in a row
        self.anchor = anchor  # the limit before a row of cuts that did not help
        self._strikes = 0
        self._vouching = 0
        self._successes = 0  # since the last refusal
        self._vain = 0

    def succeeded(self, *, is_sending: bool) -> None:
        self._successes += 1
        self._vouching += is_sending
        if self._vouching >= VOUCHING:
            self._strikes = 0

    def refused(self, limit: float, *, is_probe: bool) -> int:
        """Counts a refusal and returns how many there were in a row."""
        self._strikes += 1
        self._vouching = 0
        is_soon = self._successes <= SOON_SUCCESSES
        self._successes = 0
        if self._strikes >= WALL_STRIKES:
            self.is_noisy, self.wall, self._vain = False, limit, 0
        elif not is_soon:
            self.is_noisy, self._vain = False, 0
            self.anchor = limit
        elif self._strikes == 1 and not is_probe:
            self._vain += 1
            self.is_noisy = self.is_noisy or self._vain >= VAIN_CUTS
        return self._strikes

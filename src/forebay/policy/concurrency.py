"""Learned concurrency: how many calls a target takes at once, found without being told.

Doubles per round trip until the target refuses or slows down without gain, remembers what was refused as a ceiling,
stays just under it, and tries it again now and then by one. A refusal at a level that held before means that the
target's limit has moved: half of it, then back. The ideas are TCP's: slow start and multiplicative decrease (RFC 5681),
the memory of CUBIC (RFC 9438), and pacing, so that one refusal is heard before many more calls are sent.
"""

import math

from forebay.policy.slowing import Slowing

FIRST_LIMIT = 4.0
SILENT_LIMIT = 16.0  # reached before the first answer, so that models which take long are not waited for
SILENT_GROWTH = 2.0  # a second
MOST = 4096
REGROWTH = 0.5  # per success, while far below a known ceiling
NEAR = 0.75  # of the ceiling: from here on it climbs slowly
CLIMB = 0.1  # per round trip, up to the ceiling
CUT = 0.5
SLOW_CUT = 0.8
OPENING = 2.0  # slots beyond those in use come back at so many limits a round trip
UNKNOWN_LATENCY_SECONDS = 1.0
SMOOTHING = 0.1  # of latencies
FIRST_PROBE_SECONDS = 5.0
LONGEST_PROBE_SECONDS = 40.0
PROBE_SUCCESSES = 200  # between probes: they cost at most one call in two hundred
SMALL_PROBE_SUCCESSES = 8  # while the limit is small: half of it may be missing
SMALL_LIMIT = 8
PROBE_PAUSES = 20  # a probe that costs a pause of so long is made at most every so many pauses
FULL_SHARE = 0.9  # a limit that is not used up says nothing about more
FRESH_ROUNDS = 1.5  # a limit raised within so many round trips is not proven
DEEPEST_BURST = 0.3  # of the limit before it: what still runs shows how many there is room for


class LearnedConcurrency:
    """State of one target. Every method takes the time; none asks for it. ``in_flight`` counts the reported call."""

    def __init__(self, known: int | None = None) -> None:
        self._most = float(known or MOST)
        self._limit = float(known) if known else FIRST_LIMIT
        self._ceiling: float | None = None  # the least number that was refused
        self._opened = self._limit  # so many may be under way already; more are let out one by one
        self._opened_at = 0.0
        self._is_cut = False
        self._cut_at = float("-inf")
        self._is_silent = known is None
        self._latency: float | None = None
        self._step = 1.0
        self._probe_at = 0.0
        self._probe_gap = FIRST_PROBE_SECONDS
        self._raised_at: float | None = None  # the probe under way
        self._held = 0  # successes of calls sent since
        self._since_probe = 0
        self._grown_at = float("-inf")
        self._floor = 1.0  # how deep a burst may cut
        self._room = 0.0  # how many of a burst were not refused
        self._slowing = Slowing()
        self.is_probing = True  # of several workers on one target one alone tries its ceiling

    @property
    def limit(self) -> int:
        """How many calls may be under way."""
        return max(1, int(self._limit))

    @property
    def found(self) -> int:
        """The limit that held, beside a ceiling; 0 while none was met, or it is climbing back to it."""
        if self._raised_at is not None:
            return max(1, int(self._limit - self._step))
        if self._ceiling is None or self._limit + 1 < self._ceiling:
            return 0
        return self.limit

    @property
    def is_bounded(self) -> bool:
        """Whether a ceiling was met."""
        return self._ceiling is not None

    def scale(self, share: float) -> None:
        """There are fewer workers on the target, or more: the same room for all of them together."""
        if self._ceiling is not None:
            self._ceiling = max(2.0, math.floor(self._ceiling * share + 0.5))
            self._set(min(self._limit * share, self._ceiling - 1))

    def approach(self, share: int) -> None:
        """The workers on the target have found room for so many each: all take the same share in the end."""
        gap = share - self.found
        if self._ceiling is None:
            self._ceiling = share + 1.0
            self._is_silent = False
            self._set(min(self._limit, share))
        elif self._raised_at is None and gap:
            step = int(gap / 2) or math.copysign(1, gap)
            self._ceiling = max(2.0, self._ceiling + step)
            self._set(self._limit + step)

    @property
    def latency(self) -> float:
        """What a call takes, smoothed."""
        return UNKNOWN_LATENCY_SECONDS if self._latency is None else self._latency

    def slots(self, now: float, in_flight: int) -> int:
        """How many more calls may be sent now; ``in_flight`` are under way."""
        elapsed, self._opened_at = max(0.0, now - self._opened_at), now
        if self._is_cut:  # what ended meanwhile comes back one by one too: there may be room for fewer
            self._opened, self._is_cut, elapsed = min(self._opened, in_flight + 1.0), False, 0.0
        if self._is_silent and in_flight:
            self._limit = min(SILENT_LIMIT, self._limit + SILENT_GROWTH * min(elapsed, 1.0))
        if self._opened < self._limit:
            self._opened = min(self._limit, self._opened + elapsed * self.opening_rate)
        return max(0, int(min(max(self._limit, 1.0), max(self._opened, 1.0))) - in_flight)

    def opens_at(self, now: float, in_flight: int) -> float | None:
        """When the next slot is let out; None if only the end of a call can free one."""
        if self._is_silent and in_flight:
            return now + 1 / SILENT_GROWTH if self._limit < SILENT_LIMIT else None
        missing = in_flight + 1 - self._opened
        return now + missing / self.opening_rate if missing > 0 and in_flight < self.limit else None

    def succeeded(self, now: float, latency_seconds: float, in_flight: int) -> None:
        """Counts an answer of a target that had room for the call."""
        if self._latency is None:
            self._latency, self._is_silent = latency_seconds, False
        self._latency += SMOOTHING * (latency_seconds - self._latency)
        self._since_probe += 1
        if in_flight < FULL_SHARE * self.limit or now - latency_seconds < self._cut_at:
            return
        if self._slowing.is_in_vain(now, latency_seconds, self.limit):
            self._ceiling = self._limit
            self._set(self._limit * SLOW_CUT)
            self._postpone(now, 0.0)
        elif not self._slowing.is_suspected:
            self._grow(now, now - latency_seconds)

    def refused(self, now: float, level: int, *, is_halved: bool, pause_seconds: float = 0.0) -> None:
        """Lowers the limit: by half, or to below ``level``, so many as were under way with the refused call."""
        self._is_silent = False
        self._ceiling = max(2.0, min(self._limit, float(level)))
        self._floor = max(1.0, self._limit * DEEPEST_BURST)
        self._room = float(level - 1)
        self._set(self._limit * CUT if is_halved else min(self._limit - 1, self._room))
        self._is_cut, self._cut_at, self._grown_at = True, now, now + pause_seconds
        self._postpone(now, pause_seconds)

    def stand(self, now: float, pause_seconds: float) -> None:
        """Keeps the limit, and grows no further for a while."""
        self._is_silent = False
        self._room = self._limit
        self._floor = max(1.0, self._limit * DEEPEST_BURST)
        self._ceiling = self._limit + 1
        self._is_cut, self._cut_at = True, now
        self._postpone(now, pause_seconds)

    def refused_with_others(self) -> None:
        """Counts a refusal of a call that was sent before the limit was lowered last: there is room for one less."""
        self._room -= 1
        self._set(max(self._floor, min(self._limit, self._room)))
        if self._room >= self._limit:
            self._ceiling = min(self._ceiling or self._most, self._room + 1)

    def is_proven(self, now: float) -> bool:
        """Whether the limit held for a while. One that was lowered has to be filled first."""
        return self._ceiling is not None and now - self._grown_at > FRESH_ROUNDS * self.latency

    def restore(self, limit: float, now: float) -> None:
        """Takes cuts back: the refusals were not about concurrency. What is beyond is probed."""
        self._set(max(self._limit, limit))
        self._ceiling = self._limit + 1
        self._probe_at, self._since_probe = now, PROBE_SUCCESSES

    @property
    def opening_rate(self) -> float:
        """How many slots a second are let out."""
        return OPENING * self._limit / max(self.latency, 1e-3)

    def _grow(self, now: float, sent_at: float) -> None:
        if self._ceiling is None:
            self._raise_to(self._limit + 1, now)
        elif self._limit + 1 < self._ceiling:
            step = REGROWTH if self._limit < NEAR * self._ceiling else max(1 / self._limit, CLIMB)
            self._raise_to(min(self._ceiling - 1, self._limit + step), now)
        elif self._raised_at is not None:
            self._held += sent_at >= self._raised_at
            if self._held >= self.limit:
                self._pass_ceiling(now)
        elif self.is_probing and self._limit < self._most and now >= self._probe_at:
            needed = SMALL_PROBE_SUCCESSES if self._limit <= SMALL_LIMIT else PROBE_SUCCESSES
            if self._since_probe >= needed:
                self._probe(now)

    def _pass_ceiling(self, now: float) -> None:
        """The probe held for a round: the target has grown, so the next follows at once, and is wider."""
        self._step = min(self._step * 2, max(1.0, self._limit / 2))
        self._probe_gap = FIRST_PROBE_SECONDS
        if self._limit < self._most:
            self._probe(now)

    def _probe(self, now: float) -> None:
        self._raise_to(int(self._limit) + self._step, now)
        self._ceiling = self._limit
        self._raised_at = now
        self._held = 0

    def _postpone(self, now: float, pause_seconds: float) -> None:
        self._step = 1.0
        self._raised_at = None
        self._since_probe = 0
        self._probe_at = now + max(self._probe_gap, PROBE_PAUSES * pause_seconds)
        self._probe_gap = min(self._probe_gap * 2, LONGEST_PROBE_SECONDS)

    def _raise_to(self, limit: float, now: float) -> None:
        self._set(limit)
        self._grown_at = now

    def _set(self, limit: float) -> None:
        self._limit = min(max(limit, 1.0), self._most)

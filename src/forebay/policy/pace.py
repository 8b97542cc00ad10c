"""Learned pace: how many calls a second a target takes, from what it accepted while it refused more.

What is accepted under refusals is what is allowed, so the pace is set just below it, and raised a little now and then.
AWS's adaptive retry mode (docs.aws.amazon.com/sdkref, "Retry behavior") learns a rate likewise, but comes back to the
refused one every few seconds; here probes become rarer.
"""

from typing import NamedTuple

SAFE_SHARE = 0.98  # of what was accepted
LEAST_SHARE = 0.5  # of the pace before it: one cut is no deeper
FIRST_STEP = 1.03
LARGEST_STEP = 1.5
PROBE_CALLS = 50  # doubled with each refused probe
LONGEST_PROBE_CALLS = 1600
HELD_CALLS = 100  # a raised pace that was kept for so long holds
LONGEST_WAIT_SECONDS = 30.0  # … or for so long a time: a pace of a call a minute must find back too
FEW_CALLS = 10  # say nothing of a rate
BURST_SECONDS = 0.2
SMALLEST_BURST = 2.0
SPAN_SECONDS = 2.0
SPAN_CALLS = 20
UNLIMITED = 1 << 20
SLOWEST = 1 / 20  # calls a second
USED_SHARE = 0.8  # a pace that is not used up says nothing about more


class Found(NamedTuple):
    """Calls a second of one worker: accepted of late, on the mean of all workers, and what may be possible."""

    used: float
    possible: float


class LearnedPace:
    """Calls a second, or none yet. ``accepted`` counts those that were sent and not refused, ever."""

    def __init__(self) -> None:
        self.per_second: float | None = None
        self._permits = 0.0
        self._at = 0.0
        self._step = FIRST_STEP
        self._probe_calls = PROBE_CALLS
        self._before: float | None = None  # the pace that a probe raised
        self._mark = 0  # accepted calls at the last change
        self._marked_at = 0.0
        self._spans: tuple[tuple[float, int], tuple[float, int]] | None = None  # when, and after how many, they began

    def slots(self, now: float) -> int:
        """How many calls may be sent now."""
        if self.per_second is None:
            return UNLIMITED
        burst = max(SMALLEST_BURST, self.per_second * BURST_SECONDS)
        self._permits = min(burst, self._permits + max(0.0, now - self._at) * self.per_second)
        self._at = now
        return max(0, int(self._permits))

    def resume_at(self, now: float) -> float | None:
        """When the next call may be sent; None if one may be now."""
        if self.per_second is None or self._permits >= 1:
            return None
        return max(now, self._at + (1 - self._permits) / self.per_second)

    def sent(self) -> None:
        if self.per_second is not None:
            self._permits -= 1

    def look(self, now: float, accepted: int) -> None:
        """Begins a new span for the measurement where the last one is long enough."""
        if self._spans is None:
            self._spans = ((now, accepted), (now, accepted))
        _, (began_at, before) = self._spans
        if now - began_at >= SPAN_SECONDS and accepted - before >= SPAN_CALLS:
            self._spans = ((began_at, before), (now, accepted))

    def measured(self, now: float, accepted: int) -> float | None:
        """How many calls a second were accepted in the last one or two spans; None if nothing was measured."""
        if self._spans is None:
            return None
        began_at, before = self._spans[0]
        if now <= began_at or accepted - before < FEW_CALLS:
            return None
        return (accepted - before) / (now - began_at)

    def refused(self, now: float, accepted: int, share: float, told: float | None, found: "Found") -> None:
        """Lowers the pace by the share of calls that were refused of late, or to what was used of it; at first to what
        is thought ``possible``, or to what the target tells.
        """
        self._mark, self._marked_at = accepted, now
        if self._before is not None and self.per_second is not None:
            self.per_second, self._before = self._before, None
            self._probe_calls = min(self._probe_calls * 2, LONGEST_PROBE_CALLS)
            self._step = FIRST_STEP
            return
        if self.per_second is None:
            rate = found.possible
        elif 0 < found.used < USED_SHARE * self.per_second:  # pauses held the calls back, not the pace
            rate = max(found.used, LEAST_SHARE * self.per_second)
        else:
            rate = self.per_second * max(1 - share, LEAST_SHARE)
        if told is not None:
            rate = min(rate, told)
        if self.per_second is None:
            self._permits = 0.0
        self.per_second = max(SAFE_SHARE * rate, SLOWEST)
        self._at = now
        self._spans = ((now, accepted), (now, accepted))

    def keep(self, now: float, accepted: int, most: float | None = None, workers: int = 1) -> None:
        """Raises a pace that was used for long without a refusal by a step, or to ``most``, which the
        target tells.
        """
        if self.per_second is not None and most is not None:
            self.per_second = min(self.per_second, SAFE_SHARE * most)
        needed = (self._probe_calls if self._before is None else HELD_CALLS) / workers
        calls, elapsed = accepted - self._mark, now - self._marked_at
        if self.per_second is None or (calls < needed and elapsed < LONGEST_WAIT_SECONDS):
            return
        if calls < USED_SHARE * self.per_second * elapsed:
            self._mark, self._marked_at = accepted, now
            return
        if calls < needed:
            self._step = LARGEST_STEP
        elif self._before is not None:
            self._step = min(1 + 2 * (self._step - 1), LARGEST_STEP)
            self._probe_calls = PROBE_CALLS
        self._before = self.per_second
        self.per_second = self.per_second * self._step if most is None else SAFE_SHARE * most
        self._mark, self._marked_at = accepted, now

    def follow(self, per_second: float, now: float) -> None:
        """Takes over a pace that another worker has found."""
        if self.per_second is None:
            self._permits, self._at = 0.0, now
        self.per_second, self._before = max(per_second, SLOWEST), None

    def scale(self, share: float) -> None:
        if self.per_second is not None:
            self.per_second *= share
        if self._before is not None:
            self._before *= share

    def forget(self) -> None:
        self.per_second = self._before = None

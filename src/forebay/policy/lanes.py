"""A lane's state: what a target may be sent now, from all that it answered: concurrency, breaker, pauses."""

import random

from forebay.domain.attempt import Outcome
from forebay.policy.breaker import Breaker
from forebay.policy.concurrency import LearnedConcurrency
from forebay.policy.rate_headers import RateHints

OVERLOADED = frozenset({503, 529})  # 529 is Anthropic's: https://docs.anthropic.com/en/api/errors
JITTER = 0.2
SAYS_NOTHING = frozenset({Outcome.CANCELLED, Outcome.UNKNOWN, Outcome.RUNNING})
BLOCK_SECONDS = 0.1  # of work reserved at once: a write per call would cost more than it controls


class LaneState:
    """Pure: time is passed in. ``known`` is the configured concurrency, None where it has to be learned."""

    def __init__(self, known: int | None, chance: random.Random) -> None:
        self._concurrency = LearnedConcurrency(known)
        self._breaker = Breaker(chance)
        self._chance = chance
        self._in_flight = 0
        self._paused_until = 0.0
        self._throttled_since: float | None = None

    @property
    def limit(self) -> int:
        """How many calls may be under way when nothing pauses the lane."""
        return self._concurrency.limit

    def free_slots(self, now: float, in_flight: int) -> int:
        """How many more calls may be sent now."""
        self._in_flight = in_flight
        if now < self._paused_until or self._breaker.is_open(now):
            return 0
        if self._breaker.is_half_open(now):
            return max(0, 1 - self._breaker.probes_out(in_flight))
        return self._concurrency.slots(now, in_flight)

    def available(self, now: float) -> bool:
        """Whether the target is thought to work; a half-open one is while no probe of it is out, so that a route's
        other targets serve meanwhile. Calls under way are those that ``free_slots`` was told of last.
        """
        if self._breaker.is_half_open(now):
            return self._breaker.probes_out(self._in_flight) == 0
        return not self._breaker.is_open(now)

    def resume_at(self, now: float) -> float | None:
        """When a pause ends by itself; None if there is none."""
        latest = max(self._paused_until, self._breaker.retry_at or 0.0)
        return latest if latest > now else self._concurrency.ramps_at(now)

    def is_throttled_longer_than(self, seconds: float, now: float) -> bool:
        """Whether it has been, or says that it will be, throttled for longer: then a route fails over.

        Only news counts: a lane that was sent nothing for so long after its last pause may be asked again.
        """
        since = self._throttled_since
        is_news = now < self._paused_until + seconds
        return self._paused_until - now > seconds or (since is not None and now - since > seconds and is_news)

    def record(
        self,
        outcome: Outcome,
        *,
        latency_seconds: float,
        now: float,
        in_flight: int = 1,
        status_code: int | None = None,
        retry_after: float | None = None,
        hints: RateHints | None = None,
    ) -> None:
        """Learns from the end of one call. ``in_flight`` counts that call."""
        sent_at = now - latency_seconds
        is_overload = outcome is Outcome.THROTTLED or (outcome is Outcome.UNAVAILABLE and status_code in OVERLOADED)
        if is_overload:
            self._throttle(now, latency_seconds, in_flight, retry_after or 0.0)
        if outcome in SAYS_NOTHING:
            self._breaker.dropped(sent_at=sent_at)
        elif outcome in {Outcome.UNAVAILABLE, Outcome.TIMEOUT}:
            is_refused = outcome is Outcome.UNAVAILABLE and status_code is None
            self._breaker.failed(now, sent_at=sent_at, in_flight=in_flight, is_refused=is_refused)
        else:
            self._breaker.succeeded()
        if outcome in {Outcome.SUCCEEDED, Outcome.INVALID_OUTPUT}:
            self._throttled_since = None
            self._concurrency.succeeded(now, latency_seconds, in_flight)
        if hints is not None:
            self._heed(hints, now)

    def _throttle(self, now: float, latency_seconds: float, in_flight: int, retry_after: float) -> None:
        pause = self._concurrency.refused(now, latency_seconds, in_flight, retry_after)
        if self._throttled_since is None:
            self._throttled_since = now
        if pause > retry_after:  # our own: several workers must not come back at once
            pause *= 1 + JITTER * self._chance.random()
        self._paused_until = max(self._paused_until, now + pause)

    def _heed(self, hints: RateHints, now: float) -> None:
        """Stops before the wall: nothing remains until the reset."""
        pairs = (
            (hints.remaining_requests, hints.reset_requests_seconds, hints.limit_requests),
            (hints.remaining_tokens, hints.reset_tokens_seconds, hints.limit_tokens),
        )
        for remaining, reset_seconds, limit in pairs:
            if remaining is None or reset_seconds is None or remaining >= 1:
                continue
            # The reset tells when the whole allowance is back; the first piece of it is back sooner.
            pause = reset_seconds / limit if limit else reset_seconds
            self._paused_until = max(self._paused_until, now + pause)


def block_size(per_second: float, seconds: float = BLOCK_SECONDS) -> float:
    """How many permits to ask for at once: about so many seconds of work, at least one."""
    return max(1.0, per_second * seconds)

"""A lane's state: what a target may be sent now, from all that it answered: concurrency, breaker, pauses."""

import random
from collections.abc import Sequence

from forebay.domain.attempt import Outcome
from forebay.domain.lesson import Lesson
from forebay.policy.breaker import Breaker
from forebay.policy.concurrency import LearnedConcurrency
from forebay.policy.pace import Found, LearnedPace
from forebay.policy.rate_headers import RateHints
from forebay.policy.refusals import FEW_AT_ONCE, Cause, Refusals

OVERLOADED = frozenset({503, 529})  # 529 is Anthropic's: https://docs.anthropic.com/en/api/errors
JITTER = 0.2
SAYS_NOTHING = frozenset({Outcome.CANCELLED, Outcome.UNKNOWN, Outcome.RUNNING})
FIRST_PAUSE_SECONDS = 0.05  # under a row of refusals, doubled with each
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_HEARING_SECONDS = 0.3
MAX_EXPONENT = 10
FIRST_DOUBT_SECONDS = 1.0  # after one refused connection or 503: a route's other targets go first, doubled with each
RATE_SHARE = 0.9  # of the rate that a target tells: who sends so much is refused for its rate
FIRST_SHARE = 0.7  # of what is possible: what was measured may be the end of a pause
HEARING_SECONDS = 2.0  # until all workers have a new pace: what is refused before says nothing of it
TOLD_PAUSE_SECONDS = 2.0  # shorter ones are over before the others could have heard of them
BLOCK_SECONDS = 0.1  # of work reserved at once: a write per call would cost more than it controls


class LaneState:
    """Pure: time is passed in. ``known`` is the configured concurrency, None where it has to be learned."""

    def __init__(self, known: int | None, chance: random.Random) -> None:
        self._concurrency = LearnedConcurrency(known)
        self._pace = LearnedPace()
        self._refusals = Refusals()
        self._breaker = Breaker(chance)
        self._chance = chance
        self._in_flight = 0
        self._level = 0  # how many were under way with the call that was sent last
        self._sent = 0
        self._refused = 0
        self._reacted_at = float("-inf")  # to a refusal; what was sent before says nothing new
        self._sent_then = 0
        self._refused_then = 0
        self._remaining: float | None = None  # calls that may be sent, as the headers have it
        self._told: float | None = None  # calls a second, as the target's headers have it
        self._paused_until = 0.0
        self._pause_learned = 0.0  # … by this worker itself: what was heard is not told again, or it would never end
        self._pause_told = 0.0  # … and long enough to be told
        self._throttled_since: float | None = None
        self._doubts = 0  # calls that found nobody, one after the other
        self._doubted_at = float("-inf")
        self._doubted_until = 0.0
        self._peers: dict[str, Lesson] = {}
        self._is_following = False
        self._began_at: float | None = None  # when the first call was sent
        self._sent_told = self._refused_told = 0  # by the last lesson
        self._refused_minded = 0  # by what was heard last

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
        if self._began_at is None:
            self._began_at = now
        self._pace.look(now, self._sent - self._refused)
        slots = min(self._concurrency.slots(now, in_flight), self._pace.slots(now))
        return slots if self._remaining is None else min(slots, max(0 if in_flight else 1, int(self._remaining)))

    @property
    def calls(self) -> int:
        """How many were ever sent."""
        return self._sent

    @property
    def latency(self) -> float:
        """What a call takes, smoothed."""
        return self._concurrency.latency

    def is_steady(self, now: float) -> bool:
        """Whether the ends of calls alone free slots now: no pause, no pace, no headers, no doubt hold them back."""
        is_free = self._pace.per_second is None and self._remaining is None and now >= self._paused_until
        return is_free and self._breaker.retry_at is None and not self.is_doubtful(now)

    def has_learned_pause(self, now: float) -> bool:
        """Whether an answer to this worker says not to send anything now."""
        return now < self._pause_learned

    @property
    def workers(self) -> int:
        """How many share the target, this one included."""
        return len(self._peers) + 1

    def lesson(self, target: str, teller: str, now: float) -> Lesson:
        """What is known of the target, for the other workers."""
        pace = self._pace.per_second
        sent, refused = self._sent - self._sent_told, self._refused - self._refused_told
        self._sent_told, self._refused_told = self._sent, self._refused
        return Lesson(
            target=target,
            teller=teller,
            limit=self._concurrency.found,
            cause=self._refusals.cause,
            accepted_per_second=self._pace.measured(now, self._sent - self._refused) or 0.0,
            refused_share=min(1.0, refused / max(sent, 1)),
            per_second=None if pace is None else pace * self.workers,
            pause_seconds=max(0.0, self._pause_told - now),
            since_seconds=0.0 if self._began_at is None else max(0.0, now - self._began_at),
        )

    def hear(self, teller: str, lessons: Sequence[Lesson], now: float) -> None:
        """Takes over what the other workers know: pauses of all; of what needs trying, what the first of them found.

        One worker's trial says little while the others send as before, so that all do as the first one does.
        """
        peers = {lesson.teller: lesson for lesson in lessons if lesson.teller != teller}
        gone = len(self._peers.keys() - peers.keys())
        new = sum(now - peers[name].since_seconds > self._reacted_at for name in peers.keys() - self._peers.keys())
        share = self.workers / (self.workers - gone + new)
        self._concurrency.scale(share)
        self._pace.scale(share)
        self._peers = peers
        self._refusals.workers = self.workers
        for lesson in peers.values():
            self._paused_until = max(self._paused_until, now + lesson.pause_seconds)
        self._divide(teller)
        first = min(peers, default=teller)
        self._is_following = first < teller
        self._concurrency.is_probing = not self._is_following
        if self._is_following:
            self._follow(peers[first], now)
        elif peers and now - self._reacted_at >= HEARING_SECONDS and self._refused == self._refused_minded:
            self._mind(now)
        self._refused_minded = self._refused

    def _divide(self, teller: str) -> None:
        """Moves towards the same share of the room at once that all have; none, while one of them still looks."""
        found = {name: lesson.limit for name, lesson in self._peers.items() if lesson.limit}
        is_settled = len(found) == len(self._peers) and self._concurrency.found
        if found and (is_settled or not self._concurrency.is_bounded):
            found[teller] = self._concurrency.found or min(found.values())
            place = sorted(found, reverse=True).index(teller)
            self._concurrency.approach((sum(found.values()) + place) // len(found))

    def _mind(self, now: float) -> None:
        """Lowers the pace of all for what the others alone were refused."""
        share = sum(lesson.refused_share for lesson in self._peers.values()) / self.workers
        if share and self._refusals.cause is Cause.RATE and self._pace.per_second is not None:
            self._reacted_at = now
            self._pace.refused(now, self._sent - self._refused, share, None, Found(0.0, self._pace.per_second))

    def _follow(self, lesson: Lesson, now: float) -> None:
        self._refusals.suspect(Cause(lesson.cause), self._concurrency.limit)
        if lesson.per_second is not None:
            self._pace.follow(lesson.per_second / self.workers, now)
        else:
            self._pace.forget()

    def sent(self) -> None:
        """Counts a call that is sent."""
        self._sent += 1
        self._in_flight += 1
        self._level = self._in_flight
        self._pace.sent()
        if self._remaining is not None:
            self._remaining -= 1

    def available(self, now: float) -> bool:
        """Whether the target is thought to work; a half-open one is while no probe of it is out, so that a route's
        other targets serve meanwhile. Calls under way are those that ``free_slots`` was told of last.
        """
        if self._breaker.is_half_open(now):
            return self._breaker.probes_out(self._in_flight) == 0
        return not self._breaker.is_open(now)

    def is_doubtful(self, now: float) -> bool:
        """Whether a call found nobody there just now: not yet a reason to stop, but one to ask another target first."""
        return now < self._doubted_until

    def resume_at(self, now: float) -> float | None:
        """When a pause ends by itself; None if there is none."""
        latest = max(self._paused_until, self._breaker.retry_at or 0.0)
        if latest > now:
            return latest
        paced = self._pace.resume_at(now)
        return paced if paced is not None else self._concurrency.opens_at(now, self._in_flight)

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
        if outcome is Outcome.UNAVAILABLE and (status_code is None or status_code in OVERLOADED):
            self._doubt(now, sent_at)
        if outcome in SAYS_NOTHING:
            self._breaker.dropped(sent_at=sent_at)
        elif outcome in {Outcome.UNAVAILABLE, Outcome.TIMEOUT}:
            is_refused = outcome is Outcome.UNAVAILABLE and status_code is None
            self._breaker.failed(now, sent_at=sent_at, in_flight=in_flight, is_refused=is_refused)
        else:
            self._breaker.succeeded()
            self._doubts, self._doubted_until = 0, 0.0
        if outcome in {Outcome.SUCCEEDED, Outcome.INVALID_OUTPUT}:
            self._throttled_since = None
            self._concurrency.succeeded(now, latency_seconds, in_flight)
            if self._pace.per_second is not None:
                most = self._told / self.workers if self._told is not None and self._peers else None
                self._pace.keep(now, self._sent - self._refused, most, self.workers)
        if hints is not None:
            self._heed(hints, now)

    def _doubt(self, now: float, sent_at: float) -> None:
        if sent_at < self._doubted_at:
            return
        doubt = min(FIRST_DOUBT_SECONDS * float(1 << min(self._doubts, MAX_EXPONENT)), LONGEST_PAUSE_SECONDS)
        self._doubts += 1
        self._doubted_at, self._doubted_until = now, now + doubt

    def _throttle(self, now: float, latency_seconds: float, in_flight: int, retry_after: float) -> None:
        self._refused += 1
        if self._throttled_since is None:
            self._throttled_since = now
        pause = retry_after
        sent_at = now - latency_seconds
        if self._peers and self._refusals.cause is Cause.RATE and 0 <= sent_at - self._reacted_at < HEARING_SECONDS:
            self._sent_then, self._refused_then = self._sent, self._refused
        elif sent_at >= self._reacted_at:
            pause = max(pause, self._react(now, latency_seconds, max(in_flight, self._level), retry_after))
            if self._refusals.cause is not Cause.CHANCE:
                # The rest of a burst is heard before more is sent: what was not refused of it is the room.
                pause = max(pause, min(latency_seconds, LONGEST_HEARING_SECONDS))
        elif self._refusals.cause is not Cause.CHANCE:
            self._concurrency.refused_with_others()
        self._pause(now, pause)

    def _pause(self, now: float, seconds: float) -> None:
        until = now + seconds
        self._pause_learned = max(self._pause_learned, until)
        if seconds >= TOLD_PAUSE_SECONDS:
            self._pause_told = max(self._pause_told, until)
        self._paused_until = max(self._paused_until, until)

    def _react(self, now: float, heard_seconds: float, level: int, retry_after: float) -> float:
        """Answers a refusal by what it is about. Returns how long to pause: the longer, the more in a row."""
        accepted = self._sent - self._refused
        refusals, before = self._refusals, self._refusals.cause
        # Beside other workers all that held may be refused for one more that they have tried; far less may not.
        is_tried = bool(self._peers) and level >= self._concurrency.limit
        is_proven = self._concurrency.is_proven(now) and not is_tried
        refused, self._refused_then = self._refused - self._refused_then, self._refused
        # Those that were sent while this refusal was on its way may be refused too.
        unheard = int(self._concurrency.opening_rate * heard_seconds)
        between = max(0, self._sent - self._sent_then - 1 - unheard)
        calls = self.workers if before is Cause.RATE else 1  # of all workers, for one of this: they share the rate
        is_least = self._concurrency.limit == 1  # there is nothing left to lower
        is_heard = not self._peers or is_least or before is Cause.CHANCE or now - self._reacted_at >= HEARING_SECONDS
        is_news = is_heard and not self._is_following  # the first worker judges
        refusals.add(between * calls, refused * calls, self._concurrency.limit, is_proven=is_proven, is_news=is_news)
        measured = self._pace.measured(now, accepted)
        told = None if self._told is None else self._told / self.workers
        if told is not None and measured is not None and measured >= RATE_SHARE * told and not self._is_following:
            refusals.suspect(Cause.RATE, self._concurrency.limit)
        self._reacted_at, self._sent_then = now, self._sent
        is_in_row = refusals.is_row(self._concurrency.limit)
        if refusals.cause is Cause.CHANCE:
            if before is not Cause.CHANCE:
                self._concurrency.restore(refusals.anchor, now)
                self._pace.forget()
            elif refusals.is_test:
                self._concurrency.refused(now, level, is_halved=True)
            return 0.0
        if refusals.cause is Cause.CONCURRENCY and before is Cause.RATE:
            self._pace.forget()
        if refusals.cause is Cause.CONCURRENCY or level >= self._concurrency.limit or not (is_proven or is_in_row):
            is_halved = refusals.cause is Cause.CONCURRENCY and (is_in_row or refusals.is_test or is_proven)
            is_one_of_few = level <= FEW_AT_ONCE and refusals.in_row <= 1  # may be chance
            if is_halved or is_tried or not is_one_of_few:
                if is_halved and self._peers:  # others may have taken the room while this one paused
                    level = max(level, self._concurrency.limit // 2 + 1)
                self._concurrency.refused(now, level, is_halved=is_halved, pause_seconds=retry_after)
            else:
                self._concurrency.stand(now, retry_after)
        is_paced = self._pace.per_second is not None
        if refusals.cause is Cause.RATE and not (is_paced and (is_in_row or self._is_following)):
            if before is not Cause.RATE:
                self._concurrency.restore(1, now)
            most = 1 if is_least else max(refusals.anchor, self._concurrency.limit)
            possible = most / max(self._concurrency.latency, 1e-3)
            others = sum(lesson.accepted_per_second for lesson in self._peers.values())
            mean = ((measured or 0.0) + others) / self.workers
            found = Found(mean, max(mean, FIRST_SHARE * possible))
            self._pace.refused(now, accepted, refusals.share, told, found)
        if not is_in_row:
            return 0.0
        pause = min(FIRST_PAUSE_SECONDS * float(1 << min(refusals.in_row - 1, MAX_EXPONENT)), LONGEST_PAUSE_SECONDS)
        return pause * (1 + JITTER * self._chance.random())  # several workers must not come back at once

    def _heed(self, hints: RateHints, now: float) -> None:
        """Learns the rate that the target tells, and stops before the wall: nothing remains until the reset."""
        limit, remaining = hints.limit_requests, hints.remaining_requests
        reset_seconds = hints.reset_requests_seconds
        if remaining is not None:
            self._remaining = remaining / self.workers - self._in_flight  # of those, some are not counted yet
            if limit and reset_seconds and limit - remaining >= 1:
                self._told = (limit - remaining) / reset_seconds  # the reset tells when all that was used is back
        pairs = (
            (hints.remaining_requests, hints.reset_requests_seconds, hints.limit_requests),
            (hints.remaining_tokens, hints.reset_tokens_seconds, hints.limit_tokens),
        )
        for remaining, reset_seconds, limit in pairs:
            if remaining is None or reset_seconds is None or remaining >= 1:
                continue
            # The reset tells when the whole allowance is back; the first piece of it is back sooner.
            pause = reset_seconds / limit if limit else reset_seconds
            self._pause(now, pause)


def block_size(per_second: float, seconds: float = BLOCK_SECONDS) -> float:
    """How many permits to ask for at once: about so many seconds of work, at least one."""
    return max(1.0, per_second * seconds)

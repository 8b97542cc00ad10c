"""Several workers' lanes with endless work before one simulated target: discrete events, no waiting."""

import heapq
import random
from dataclasses import dataclass, field

from forebay.domain.attempt import Outcome
from forebay.domain.lesson import Lesson
from forebay.policy.lanes import LaneState
from forebay.policy.rate_headers import RateHints

from .simulation import REFUSAL_SECONDS, START, TICK_SECONDS, Served

LASTING_SECONDS = 5.0  # a lesson: then its teller is taken for dead


@dataclass
class Member:
    """One worker's lane, and its calls under way by when they end."""

    name: str
    lane: LaneState
    in_flight: int = 0
    wake_at: float = START
    hears_at: float = START
    calls: list[tuple[float, int, float, bool]] = field(default_factory=list)
    served: Served = field(default_factory=Served)


@dataclass
class Wall:
    """What the target allows: so many at once, so many a minute with a burst of a second; the rest is refused."""

    room: int = 1_000_000
    per_minute: float | None = None
    noise: float = 0.0
    serving: int = 0
    _permits: float = 0.0
    _at: float = START

    def is_refused(self, now: float, chance: random.Random) -> bool:
        if self.serving >= self.room or (self.noise and chance.random() < self.noise):
            return True
        if self.per_minute is None:
            return False
        self._fill(now)
        if self._permits < 1:
            return True
        self._permits -= 1
        return False

    def hints(self, now: float) -> RateHints:
        assert self.per_minute is not None
        self._fill(now)
        used = self.per_minute / 60 - self._permits
        return RateHints(
            limit_requests=self.per_minute,
            remaining_requests=int(self.per_minute - used),
            reset_requests_seconds=used * 60 / self.per_minute,
        )

    def _fill(self, now: float) -> None:
        assert self.per_minute is not None
        burst = self.per_minute / 60
        self._permits = min(burst, self._permits + (now - self._at) * burst)
        self._at = now


@dataclass
class Crowd:
    """``latency_seconds`` varies by a fifth; with ``is_told`` answers have the headers of the rate."""

    wall: Wall
    latency_seconds: float
    is_told: bool = False
    retry_after: float | None = None
    chance: random.Random = field(default_factory=lambda: random.Random(5))
    served: Served = field(default_factory=Served)
    members: list[Member] = field(default_factory=list)
    now: float = START
    hearing_seconds: float | None = 1.0
    _told: dict[str, tuple[float, Lesson]] = field(default_factory=dict)

    def join(self, lane: LaneState) -> Member:
        member = Member(
            f"w{len(self.members)}-{self.now:.0f}", lane, wake_at=self.now, hears_at=self.now + self.chance.random()
        )
        self.members.append(member)
        return member

    def kill(self, member: Member) -> None:
        """Its connections break: the target lets go of its calls."""
        self.wall.serving -= sum(not refused for *_, refused in member.calls)
        self.members.remove(member)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            member = min(self.members, key=self._next)
            if self._next(member) > end:
                self.now = end
                return
            self.now = max(self.now, self._next(member))
            if member.calls and member.calls[0][0] <= self.now:
                self._end(member)
            if member.hears_at <= self.now:
                self._talk(member)
            self._send(member)

    def _next(self, member: Member) -> float:
        times = [member.wake_at, member.hears_at if self.hearing_seconds else member.wake_at]
        return min([*times, member.calls[0][0]] if member.calls else times)

    def _talk(self, member: Member) -> None:
        if self.hearing_seconds is None:
            return
        member.hears_at = self.now + self.hearing_seconds
        self._told[member.name] = (self.now, member.lane.lesson("t", member.name, self.now))
        heard = [lesson.aged(self.now - at) for at, lesson in self._told.values() if self.now - at < LASTING_SECONDS]
        member.lane.hear(member.name, heard, self.now)

    def _send(self, member: Member) -> None:
        for _ in range(member.lane.free_slots(self.now, member.in_flight)):
            member.lane.sent()
            refused = self.wall.is_refused(self.now, self.chance)
            self.wall.serving += not refused
            member.in_flight += 1
            latency = REFUSAL_SECONDS
            if not refused:
                latency = self.latency_seconds * (0.8 + 0.4 * self.chance.random())
            heapq.heappush(member.calls, (self.now + latency, self.chance.getrandbits(60), self.now, refused))
        resume = member.lane.resume_at(self.now)
        member.wake_at = self.now + 1.0 if resume is None else max(resume, self.now + TICK_SECONDS)

    def _end(self, member: Member) -> None:
        at, _, sent_at, refused = heapq.heappop(member.calls)
        for served in (self.served, member.served):
            served.ends.append((at - START, refused))
        member.lane.record(
            Outcome.THROTTLED if refused else Outcome.SUCCEEDED,
            latency_seconds=at - sent_at,
            now=at,
            in_flight=member.in_flight,
            status_code=429 if refused else 200,
            retry_after=self.retry_after if refused else None,
            hints=self.wall.hints(at) if self.is_told else None,
        )
        self.wall.serving -= not refused
        member.in_flight -= 1

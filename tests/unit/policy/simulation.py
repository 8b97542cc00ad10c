"""A lane with endless work before a simulated target: discrete events, no waiting."""

import heapq
import random
from dataclasses import dataclass, field

from forebay.domain.attempt import Outcome
from forebay.policy.lanes import LaneState
from forebay.policy.rate_headers import RateHints

REFUSAL_SECONDS = 0.005
TICK_SECONDS = 0.001  # the shortest pause of a worker
START = 1000.0


@dataclass
class Served:
    """When each call ended, counted from the start, and whether it was refused."""

    ends: list[tuple[float, bool]] = field(default_factory=list)

    def rate(self, start: float, end: float) -> float:
        return sum(1 for at, refused in self.ends if not refused and start <= at < end) / (end - start)

    def refused(self, start: float, end: float) -> int:
        return sum(1 for at, refused in self.ends if refused and start <= at < end)

    def refused_share(self, start: float, end: float) -> float:
        return self.refused(start, end) / sum(1 for at, _ in self.ends if start <= at < end)


@dataclass
class Simulation:
    """``room``: calls at once; ``cores``: so many at full speed, more share it; ``noise``: refused by chance."""

    lane: LaneState
    latency_seconds: float
    spread: float = 0.2
    retry_after: float | None = None
    room: int = 1_000_000
    noise: float = 0.0
    cores: int | None = None
    per_minute: float | None = None
    is_told: bool = False
    chance: random.Random = field(default_factory=lambda: random.Random(5))
    served: Served = field(default_factory=Served)
    now: float = START
    serving: int = 0
    in_flight: int = 0
    _permits: float = 10.0  # of the target's rate: a burst of a second of 600 a minute
    _permits_at: float = START
    _calls: list[tuple[float, int, float, bool]] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self._send()
            resume = self.lane.resume_at(self.now)
            if self._calls and (resume is None or self._calls[0][0] <= resume):
                self.now = self._calls[0][0]
                self._end()
            else:
                assert resume is not None, "the lane stands still"
                self.now = max(resume, self.now + TICK_SECONDS)

    def _send(self) -> None:
        for _ in range(self.lane.free_slots(self.now, self.in_flight)):
            self.lane.sent()
            refused = self._is_refused()
            self.serving += not refused
            self.in_flight += 1
            latency = REFUSAL_SECONDS
            if not refused:
                slowdown = max(1.0, self.serving / self.cores) if self.cores else 1.0
                latency = slowdown * self.latency_seconds * (1 + self.spread * (2 * self.chance.random() - 1))
            heapq.heappush(self._calls, (self.now + latency, self.chance.getrandbits(60), self.now, refused))

    def _is_refused(self) -> bool:
        if self.serving >= self.room or self.chance.random() < self.noise:
            return True
        if self.per_minute is None:
            return False
        burst = self.per_minute / 60
        self._permits = min(burst, self._permits + (self.now - self._permits_at) * burst)
        self._permits_at = self.now
        if self._permits < 1:
            return True
        self._permits -= 1
        return False

    def _end(self) -> None:
        at, _, sent_at, refused = heapq.heappop(self._calls)
        self.served.ends.append((at - START, refused))
        self.lane.record(
            Outcome.THROTTLED if refused else Outcome.SUCCEEDED,
            latency_seconds=at - sent_at,
            now=at,
            in_flight=self.in_flight,
            status_code=429 if refused else 200,
            retry_after=self.retry_after if refused else None,
            hints=self._hints(),
        )
        self.serving -= not refused
        self.in_flight -= 1

    def _hints(self) -> RateHints | None:
        if self.per_minute is None or not self.is_told:
            return None
        used = self.per_minute / 60 - self._permits
        return RateHints(
            limit_requests=self.per_minute,
            remaining_requests=int(self.per_minute - used),
            reset_requests_seconds=used * 60 / self.per_minute,
        )

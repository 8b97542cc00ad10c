"""Learned concurrency against simulated targets: discrete events, no waiting."""

import heapq
import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.attempt import Outcome
from forebay.policy.concurrency import LearnedConcurrency
from forebay.policy.lanes import LaneState

REFUSAL_SECONDS = 0.005


@dataclass
class Served:
    """What a simulated run gave: when each call ended, and whether it was refused."""

    ends: list[tuple[float, bool]] = field(default_factory=list)

    def rate(self, start: float, end: float) -> float:
        return sum(1 for at, refused in self.ends if not refused and start <= at < end) / (end - start)

    def refused_share(self, start: float, end: float) -> float:
        within = [refused for at, refused in self.ends if start <= at < end]
        return sum(within) / len(within)


@dataclass
class Simulation:
    """A lane with endless work before a target that refuses beyond ``room`` calls at once."""

    lane: LaneState
    latency_seconds: float
    spread: float = 0.0
    retry_after: float | None = None
    room: int = 37
    noise: float = 0.0
    cores: int | None = None  # so many are served at full speed; more share it
    chance: random.Random = field(default_factory=lambda: random.Random(5))
    served: Served = field(default_factory=Served)
    now: float = 1000.0
    serving: int = 0
    in_flight: int = 0
    _calls: list[tuple[float, int, float, bool]] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self._send()
            resume = self.lane.resume_at(self.now)
            due = self._calls[0][0] if self._calls else resume
            assert due is not None, "the lane stands still"
            if resume is not None and resume < due:
                self.now = resume
                continue
            self.now = due
            if self._calls:
                self._end()

    def _send(self) -> None:
        for _ in range(self.lane.free_slots(self.now, self.in_flight)):
            refused = self.serving >= self.room or self.chance.random() < self.noise
            self.serving += not refused
            self.in_flight += 1
            latency = REFUSAL_SECONDS
            if not refused:
                slowdown = max(1.0, self.serving / self.cores) if self.cores else 1.0
                latency = slowdown * self.latency_seconds * (1 + self.spread * (2 * self.chance.random() - 1))
            heapq.heappush(self._calls, (self.now + latency, self.chance.getrandbits(60), self.now, refused))

    def _end(self) -> None:
        at, _, sent_at, refused = heapq.heappop(self._calls)
        self.served.ends.append((at, refused))
        self.lane.record(
            Outcome.THROTTLED if refused else Outcome.SUCCEEDED,
            latency_seconds=at - sent_at,
            now=at,
            in_flight=self.in_flight,
            status_code=429 if refused else 200,
            retry_after=self.retry_after if refused else None,
        )
        self.serving -= not refused
        self.in_flight -= 1


@pytest.mark.parametrize("spread", [0.0, 0.4])
@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("latency_seconds", [0.05, 0.2, 1.0, 2.0])
def test_a_lane_finds_a_ceiling_of_37_and_again_when_it_moves_to_12(
    latency_seconds: float, retry_after: float | None, spread: float
) -> None:
    lane = LaneState(None, random.Random(1))
    simulation = Simulation(lane, latency_seconds, spread=spread, retry_after=retry_after)
    start = simulation.now
    simulation.run(30)
    assert simulation.served.rate(start + 15, start + 30) >= 0.9 * 37 / latency_seconds
    assert simulation.served.refused_share(start, start + 30) < (0.02 if latency_seconds < 2 else 0.03)

    simulation.room = 12
    simulation.run(30)
    assert simulation.served.rate(start + 45, start + 60) >= 0.9 * 12 / latency_seconds
    refused = sum(was_refused for at, was_refused in simulation.served.ends if at >= start + 30)
    # Where all calls end in one instant, the first wave after the move can't be known to be too wide: it is paid once.
    assert refused <= max(0.02 * 12 * 30 / latency_seconds, 27 if spread == 0 else 8)


@pytest.mark.parametrize("latency_seconds", [0.05, 0.2])
def test_a_lane_finds_out_that_a_target_has_grown(latency_seconds: float) -> None:
    simulation = Simulation(LaneState(None, random.Random(1)), latency_seconds, room=12)
    simulation.run(30)
    start = simulation.now
    simulation.room = 100
    simulation.run(80)
    assert simulation.served.rate(start + 60, start + 80) >= 0.9 * 100 / latency_seconds


def test_refusals_that_have_nothing_to_do_with_concurrency_do_not_close_a_lane() -> None:
    simulation = Simulation(LaneState(None, random.Random(1)), 0.2, noise=0.05, room=37)
    start = simulation.now
    simulation.run(60)
    assert simulation.served.rate(start + 30, start + 60) >= 0.5 * 37 / 0.2


def test_rising_latency_without_gain_lowers_the_limit() -> None:
    lane = LaneState(None, random.Random(1))
    simulation = Simulation(lane, 0.1, cores=4, room=10_000, spread=0.2)
    start = simulation.now
    simulation.run(60)
    assert lane.limit <= 48
    assert simulation.served.rate(start + 30, start + 60) >= 0.9 * 4 / 0.1


def test_rising_latency_with_gain_does_not() -> None:
    lane = LearnedConcurrency()
    now = 1000.0
    for _ in range(40):
        now += 0.1 * lane.limit**0.5  # a batching server: four times the calls take twice as long
        for _ in range(lane.limit):
            lane.succeeded(now, 0.1 * lane.limit**0.5, lane.limit)
    assert lane.limit > 500


def test_a_burst_of_refusals_leaves_as_many_as_still_run() -> None:
    lane = LearnedConcurrency(known=100)
    for in_flight in range(100, 60, -1):
        lane.refused(now=10.0, latency_seconds=1.0, in_flight=in_flight)
    assert lane.limit == 60


def test_a_burst_of_refusals_is_one_cut_however_long() -> None:
    lane = LearnedConcurrency(known=100)
    for in_flight in range(100, 0, -1):
        lane.refused(now=10.0, latency_seconds=1.0, in_flight=in_flight)
    assert lane.limit == 30


def test_refusals_in_a_row_pause_longer_and_longer() -> None:
    lane = LearnedConcurrency()
    pauses = [lane.refused(now=float(second), latency_seconds=0.01, in_flight=1) for second in range(1, 12)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.0
    assert pauses[-1] == 30.0


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    lane = LearnedConcurrency()
    for second in range(1000):
        lane.succeeded(float(second), 0.1, 1)
    assert lane.limit == 4


@given(
    known=st.none() | st.integers(1, 64),
    events=st.lists(st.tuples(st.booleans(), st.floats(0, 10), st.floats(0, 20), st.integers(0, 200)), max_size=200),
)
def test_the_limit_stays_within_its_bounds(known: int | None, events: list[tuple[bool, float, float, int]]) -> None:
    lane = LearnedConcurrency(known)
    now = 100.0
    limits = [lane.limit]
    for is_success, wait, latency, in_flight in events:
        now += wait
        if is_success:
            lane.succeeded(now, latency, in_flight)
        else:
            assert lane.refused(now, latency, in_flight, 1.5) >= 1.5
        limits.append(lane.limit)
    assert all(1 <= limit <= (known or 4096) for limit in limits)
    assert all(after <= before * 2 + 2 for before, after in pairwise(limits))

"""Learned concurrency against simulated targets, and by itself."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.concurrency import LearnedConcurrency
from forebay.policy.lanes import LaneState

from .simulation import Simulation


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("latency_seconds", [0.02, 0.05, 0.2, 0.5, 1.0, 2.0])
def test_a_lane_finds_a_ceiling_of_37_and_again_when_it_moves_to_12(
    latency_seconds: float, retry_after: float | None
) -> None:
    simulation = Simulation(LaneState(None, random.Random(1)), latency_seconds, retry_after=retry_after, room=37)
    served = simulation.served
    simulation.run(30)
    assert served.rate(20, 30) >= 0.9 * 37 / latency_seconds
    assert served.refused_share(0, 30) < 0.02

    simulation.room = 12
    simulation.run(30)
    assert served.rate(50, 60) >= 0.9 * 12 / latency_seconds
    # Of slow calls there are too few for a share: three levels are tried on the way down, and one on the way up.
    assert served.refused_share(30, 60) < 0.02 or served.refused(30, 60) <= 5


@pytest.mark.parametrize("latency_seconds", [3.0, 10.0, 30.0])
def test_a_lane_finds_the_ceiling_of_slow_models_within_ten_round_trips(latency_seconds: float) -> None:
    simulation = Simulation(LaneState(None, random.Random(1)), latency_seconds, room=37)
    served, rounds = simulation.served, 10 * latency_seconds
    simulation.run(2 * rounds)
    assert served.rate(rounds, 2 * rounds) >= 0.9 * 37 / latency_seconds
    assert served.refused_share(0, 2 * rounds) < 0.02


@pytest.mark.parametrize("latency_seconds", [0.05, 0.2])
def test_a_lane_finds_out_that_a_target_has_grown(latency_seconds: float) -> None:
    simulation = Simulation(LaneState(None, random.Random(1)), latency_seconds, room=12)
    simulation.run(30)
    simulation.room = 100
    simulation.run(80)
    assert simulation.served.rate(90, 110) >= 0.9 * 100 / latency_seconds


def test_rising_latency_without_gain_lowers_the_limit() -> None:
    lane = LaneState(None, random.Random(1))
    simulation = Simulation(lane, 0.1, cores=4)
    simulation.run(60)
    assert lane.limit <= 48
    assert simulation.served.rate(30, 60) >= 0.9 * 4 / 0.1


def test_rising_latency_with_gain_does_not() -> None:
    lane = LearnedConcurrency()
    now = 1000.0
    for _ in range(40):
        now += 0.1 * lane.limit**0.5  # a batching server: four times the calls take twice as long
        for _ in range(lane.limit):
            lane.succeeded(now, 0.1 * lane.limit**0.5, lane.limit)
    assert lane.limit > 500


def test_slots_are_let_out_one_by_one_so_that_a_refusal_is_heard_in_time() -> None:
    lane = LearnedConcurrency()
    lane.slots(10.0, 4)
    for in_flight in (4, 4, 4, 4):
        lane.succeeded(11.0, 1.0, in_flight)
    assert lane.limit > 4
    lane.slots(11.0, 4)
    lane.refused(11.0, 6, is_halved=False)
    assert lane.slots(12.0, 1) == 1
    assert lane.slots(13.0, 1) == lane.limit - 1


def test_a_model_that_takes_long_is_not_waited_for() -> None:
    lane = LearnedConcurrency()
    in_flight = 0
    for tenth in range(300):
        in_flight += lane.slots(100.0 + tenth / 10, in_flight)
    assert in_flight == 16


def test_a_burst_of_refusals_leaves_as_many_as_were_not_refused() -> None:
    lane = LearnedConcurrency(known=100)
    lane.refused(10.0, 100, is_halved=False)
    for _ in range(39):
        lane.refused_with_others()
    assert lane.limit == 60


def test_a_burst_of_refusals_is_one_cut_however_long() -> None:
    lane = LearnedConcurrency(known=100)
    lane.refused(10.0, 100, is_halved=False)
    for _ in range(99):
        lane.refused_with_others()
    assert lane.limit == 30


def test_calls_that_were_sent_before_a_cut_do_not_raise_the_limit_again() -> None:
    lane = LearnedConcurrency(known=100)
    lane.refused(10.0, 100, is_halved=True)
    for in_flight in range(99, 50, -1):
        lane.succeeded(10.5, 1.0, in_flight)
    assert lane.limit == 50


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    lane = LearnedConcurrency()
    for second in range(1000):
        lane.succeeded(float(second), 0.1, 1)
    assert lane.limit == 4


@given(
    known=st.none() | st.integers(1, 64),
    events=st.lists(
        st.tuples(st.integers(0, 3), st.floats(0, 10), st.floats(0, 20), st.integers(0, 200)), max_size=200
    ),
)
def test_the_limit_stays_within_its_bounds(known: int | None, events: list[tuple[int, float, float, int]]) -> None:
    lane = LearnedConcurrency(known)
    now = 100.0
    limits = [lane.limit]
    for kind, wait, latency, in_flight in events:
        now += wait
        match kind:
            case 0:
                lane.succeeded(now, latency, in_flight)
            case 1:
                lane.refused(now, in_flight, is_halved=latency > 10)
            case 2:
                lane.refused_with_others()
            case _:
                assert 0 <= lane.slots(now, in_flight) <= max(lane.limit - in_flight, 0)
        limits.append(lane.limit)
    assert all(1 <= limit <= (known or 4096) for limit in limits)
    assert all(after <= before * 2 + 2 for before, after in pairwise(limits))

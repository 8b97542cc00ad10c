"""Refusals that are not about concurrency, against simulated targets: a rate, and chance."""

import random

import pytest

from forebay.policy.lanes import LaneState

from .simulation import Simulation


@pytest.mark.parametrize("latency_seconds", [0.02, 0.05, 0.3, 1.0])
def test_a_rate_that_the_target_tells_is_kept_to(latency_seconds: float) -> None:
    lane = LaneState(None, random.Random(1))
    simulation = Simulation(lane, latency_seconds, per_minute=600, retry_after=0.1, is_told=True)
    simulation.run(120)
    assert simulation.served.rate(30, 120) >= 0.95 * 10
    assert simulation.served.refused_share(0, 120) < 0.01


@pytest.mark.parametrize("latency_seconds", [0.05, 0.3])
def test_a_rate_of_which_nothing_is_said_is_learned(latency_seconds: float) -> None:
    simulation = Simulation(LaneState(None, random.Random(1)), latency_seconds, per_minute=600)
    simulation.run(240)
    assert simulation.served.rate(60, 240) >= 0.95 * 10
    assert simulation.served.refused_share(60, 240) < 0.01


@pytest.mark.parametrize(
    ("latency_seconds", "noise", "least"),
    [(0.05, 0.05, 0.5), (0.05, 0.2, 0.15), (0.5, 0.05, 0.5), (0.5, 0.2, 0.4), (3.0, 0.05, 0.3)],
)
def test_refusals_by_chance_bring_no_lane_to_a_standstill(latency_seconds: float, noise: float, least: float) -> None:
    simulation = Simulation(LaneState(None, random.Random(1)), latency_seconds, noise=noise, room=37)
    simulation.run(120)
    assert simulation.served.rate(60, 120) >= least * 37 / latency_seconds

"""Kills at random instants and at named points, SIGSTOP, drains and Ctrl-C under single jobs, a batch and
``forebay run``: the short form of the soak.
"""

from pathlib import Path

import pytest

from forebay.testing.chaos import Chaos, Least, Plan

SEED = 20261121
SECONDS = 6.0
LEAST = Least(accepted=20, kills=10, readings=1)


@pytest.mark.slow
async def test_whatever_is_killed_nothing_is_lost_and_nothing_is_answered_twice(tmp_path: Path) -> None:
    plan = Plan(seed=SEED, seconds=SECONDS, longest_pause=0.4, least=LEAST)
    report = await Chaos(plan, tmp_path).run()
    assert report.violations == []
    assert report.runs > 0
    assert report.calls["answered"] >= report.accepted / 2 + plan.batch_lines
    stood_still = sum(times for what, times in report.kills.items() if what.endswith("SIGSTOP"))
    assert report.max_in_flight <= plan.concurrency * (1 + stood_still)

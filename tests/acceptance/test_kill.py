"""``kill -9``, SIGSTOP and drains at random under jobs and a batch: the short form of the soak."""

from pathlib import Path

import pytest

from forebay.testing.chaos import Chaos, Plan

SEED = 20261121
SECONDS = 8.0


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_whatever_is_killed_nothing_is_lost_and_nothing_is_answered_twice(tmp_path: Path) -> None:
    plan = Plan(seed=SEED, seconds=SECONDS)
    report = await Chaos(plan, tmp_path).run()
    assert report.violations == []
    assert report.accepted > 20
    assert report.calls >= report.accepted + plan.batch_lines
    assert report.max_in_flight <= plan.concurrency + report.events.count("stop_worker") * plan.concurrency

"""Everything that dies, dies on PostgreSQL too, and so do the database, its backends and the way to it."""

from pathlib import Path

import pytest

from forebay.testing.chaos import Chaos, Least, Plan
from forebay.testing.postgres import postgres_server

SEED = 20261122
SECONDS = 6.0
LEAST = Least(accepted=20, kills=10, readings=1)


@pytest.mark.slow
async def test_whatever_is_killed_stopped_or_cut_off_nothing_is_lost_and_nothing_is_answered_twice(
    tmp_path: Path,
) -> None:
    plan = Plan(seed=SEED, seconds=SECONDS, longest_pause=0.4, least=LEAST)
    with postgres_server() as server:
        report = await Chaos(plan, tmp_path, server).run()
    assert report.violations == []
    assert report.runs > 0
    happened = " ".join(report.kills)
    assert all(word in happened for word in ("database stopped", "backend", "network cut"))
    assert report.calls["answered"] >= report.accepted / 2 + plan.batch_lines

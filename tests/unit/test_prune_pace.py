"""How soon a result is gone after its time."""

import pytest

from forebay.engine.maintenance import prune_seconds


@pytest.mark.parametrize(("result_ttl", "pause"), [(30 * 86_400, 60), (600, 60), (120, 12), (5, 1), (0, 1)])
def test_short_lived_results_are_pruned_often(result_ttl: float, pause: float) -> None:
    assert prune_seconds(result_ttl) == pytest.approx(pause)

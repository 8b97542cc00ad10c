"""Steps that ask a model of each record."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.pipelines.inference_house import House, open_house, spec_of

STEP = spec_of({"target": "t", "prompt": "say {text}"})


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


async def test_a_step_gives_its_inputs_columns_and_the_output_in_order(house: House) -> None:
    rows = [{"id": number, "text": f"word {number}"} for number in range(5)]
    outcome = await house.run(rows, STEP)
    assert await house.rows(outcome.output.table) == [{**row, "output": f"SAY WORD {row['id']}"} for row in rows]
    assert (outcome.counts.entered, outcome.counts.succeeded, outcome.counts.reused) == (5, 5, 0)
    assert outcome.output.rejected is None
    assert (outcome.calls, outcome.cost_usd, outcome.usage and outcome.usage.total_tokens) == (5, 2.5, 25)

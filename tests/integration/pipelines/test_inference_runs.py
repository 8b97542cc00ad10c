"""Steps that ask models in whole runs, from a file to a file: budgets, progress, what is asked again."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.testing.mock_model import MockModel
from tests.integration.pipelines.house import opened

LABEL = """
  reviews:
    {budget}
    steps:
      load: {{read: "in.csv"}}
      clean: {{sql: "SELECT id, trim(text) AS text FROM load WHERE length(text) > 3"}}
      label: {{infer: {{target: mock, prompt: "Classify: {{text}}", params: {{max_tokens: 50}}}}, needs: [clean]}}
      embed: {{infer: {{target: mock, endpoint: /v1/embeddings, body: {{input: "{{text}}"}}}}, needs: [clean]}}
      counted: {{sql: "SELECT count(*) AS n FROM label"}}
      summary: {{infer_once: {{target: mock, prompt: "Sum up {{counted}}"}}}}
      save: {{write: "out.jsonl", from: label}}
"""


def targets(mock: MockModel) -> str:
    prices = "prices: {input: 1000000, output: 1000000}"  # a dollar a token
    return f"targets:\n  mock: {{type: openai, base_url: '{mock.base_url}', models: [mock], {prices}}}"


def write_input(folder: Path, rows: int = 8, changed: int | None = None) -> None:
    lines = [f"{number},review number {number}{' again' if number == changed else ''}" for number in range(rows)]
    (folder / "in.csv").write_text("id,text\n" + "\n".join(lines) + "\n")


@pytest.fixture
async def mock() -> AsyncIterator[MockModel]:
    async with MockModel() as model:
        yield model


def pipeline(**budget: Any) -> str:
    told = "\n    ".join(f"{name}: {value}" for name, value in budget.items())
    return LABEL.format(budget=told or "description: none")


async def test_a_run_pays_for_each_record_once_and_for_a_changed_row_alone(tmp_path: Path, mock: MockModel) -> None:
    write_input(tmp_path)
    async with opened(tmp_path, pipeline(), targets(mock)) as house:
        view = await house.run("reviews")
        assert view["error"] is None, view["error"]
        assert view["steps"]["label"]["records"] == {"in": 8, "succeeded": 8, "failed": 0, "reused": 0}
        assert mock.calls["total"] == 17
        assert len(house.rows("out.jsonl")) == 8
        write_input(tmp_path, changed=3)
        again = await house.run("reviews")
        assert again["steps"]["label"]["records"] == {"in": 8, "succeeded": 8, "failed": 0, "reused": 7}
        assert mock.calls["total"] == 19  # its label and its vector; the count that is summed up did not change

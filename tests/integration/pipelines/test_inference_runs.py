"""Steps that ask models in whole runs, from a file to a file: budgets, progress, what is asked again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.engine.runs import resume_run
from forebay.testing.mock_model import MockModel, MockOptions
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


async def test_the_steps_of_a_run_share_its_budget_and_a_larger_one_lets_it_go_on(
    tmp_path: Path, mock: MockModel
) -> None:
    write_input(tmp_path)
    async with opened(tmp_path, pipeline(budget_usd=500), targets(mock)) as house, house.system.worker():
        job_id = await house.begin("reviews")  # a call reserves some 60 USD
        stopped = await house.ended(job_id)
        assert (stopped["status"], stopped["error"]["code"]) == ("failed", "budget_exceeded")
        assert stopped["cost_usd"] <= 500
        assert 0 < mock.calls["total"] < 17
        await resume_run(await house.job(job_id), house.system.services, budget_usd=100_000)
        done = await house.ended(job_id)
        assert (done["status"], done["error"], mock.calls["total"]) == ("succeeded", None, 17)
        spent = [step["cost_usd"] or 0.0 for step in done["steps"].values()]
        assert done["cost_usd"] == sum(spent) > stopped["cost_usd"]


async def test_tokens_are_a_budget_too(tmp_path: Path, mock: MockModel) -> None:
    write_input(tmp_path)
    async with opened(tmp_path, pipeline(budget_tokens=200), targets(mock)) as house, house.system.worker():
        job_id = await house.begin("reviews")
        stopped = await house.ended(job_id)
        assert (stopped["status"], stopped["error"]["code"]) == ("failed", "budget_exceeded")
        assert stopped["usage"]["total_tokens"] <= 200
        await resume_run(await house.job(job_id), house.system.services, budget_tokens=100_000)
        done = await house.ended(job_id)
        assert (done["status"], mock.calls["total"]) == ("succeeded", 17)


async def test_a_price_that_nobody_knows_ends_a_run_with_a_budget_before_it_spends(
    tmp_path: Path, mock: MockModel
) -> None:
    write_input(tmp_path)
    unpriced = f"targets:\n  mock: {{type: openai, base_url: '{mock.base_url}', models: [mock]}}"
    async with opened(tmp_path, pipeline(budget_usd=10), unpriced) as house, house.system.worker():
        stopped = await house.ended(await house.begin("reviews"))
        assert "price" in stopped["error"]["message"]
        assert mock.calls["total"] == 0


async def test_a_run_tells_how_far_its_steps_are_while_they_ask(tmp_path: Path, mock: MockModel) -> None:
    mock.options = MockOptions(hold_after=4)
    write_input(tmp_path)
    async with opened(tmp_path, pipeline(), targets(mock)) as house, house.system.worker():
        job_id = await house.begin("reviews")
        async with asyncio.timeout(60):
            while True:
                view = await house.view(job_id)
                label, embed = (view["steps"][name]["records"] for name in ("label", "embed"))
                if label["in"] == embed["in"] == 8 and label["succeeded"] + embed["succeeded"] == 4:
                    break
                await asyncio.sleep(0.01)
        assert view["steps"]["label"]["status"] == view["steps"]["embed"]["status"] == "running"
        mock.options = MockOptions()
        assert (await house.ended(job_id))["status"] == "succeeded"

"""A dry run: what a run would do and cost, without a call, and without anything kept."""

from pathlib import Path

from forebay.engine.handlers.pipeline.expecting import Foreseen, forecast
from forebay.engine.runs import RunOrder, pipeline_named
from forebay.testing.mock_model import MockModel
from tests.integration.pipelines.house import House, opened
from tests.integration.pipelines.test_runs import write_input

PIPELINES = """
  weekly:
    params: {mode: short}
    steps:
      load:  {read: "in/*.csv"}
      clean: {sql: "SELECT id, text FROM load ORDER BY id"}
      label: {infer: {target: mock, prompt: "Classify: {text}", params: {max_tokens: 10}}, from: clean}
      count: {sql: "SELECT count(*) AS n FROM label"}
      long:  {sql: "SELECT * FROM load", when: {params: {mode: [long]}}}
      save:  {write: out/all.jsonl, from: clean}
      lost:  {read: lost.csv}
"""
TARGET = 'targets: {mock: {type: openai, base_url: "%s", models: [mock], prices: {input: 1, output: 2}}}'


async def test_a_dry_run_computes_what_is_free_and_foresees_the_rest(tmp_path: Path) -> None:
    write_input(tmp_path, rows=5)
    async with MockModel() as mock:
        target = TARGET % mock.base_url
        async with opened(tmp_path, PIPELINES, target) as house:
            before = await _blobs(house)
            pipeline = pipeline_named("weekly", house.system.services)
            seen = await forecast(pipeline, RunOrder(), house.system.services)
            steps = {step.name: step for step in seen.steps}
            assert {name: step.status for name, step in steps.items()} == {
                "load": Foreseen.COMPUTED,
                "clean": Foreseen.COMPUTED,
                "label": Foreseen.EXPECTED,
                "count": Foreseen.UNKNOWN,
                "long": Foreseen.SKIPPED,
                "save": Foreseen.EFFECT,
                "lost": Foreseen.FAILED,
            }
            expected = steps["label"].expectation
            assert expected is not None
            assert (expected.records, expected.already_paid, expected.to_send) == (5, 0, 5)
            assert len(expected.requests) == 3
            assert expected.cost_usd is not None
            assert expected.cost_usd > 0
            assert seen.cost_usd == expected.cost_usd
            assert not seen.is_whole
            assert mock.calls["total"] == 0
            assert await house.runs() == []
            assert not (tmp_path / "out").exists()
            assert len(await _blobs(house)) <= len(before) + 1  # the plan, without a reference: it is swept


async def test_what_is_paid_is_told(tmp_path: Path) -> None:
    write_input(tmp_path, rows=5)
    async with MockModel() as mock:
        target = TARGET % mock.base_url
        async with opened(tmp_path, PIPELINES.replace("      lost:  {read: lost.csv}\n", ""), target) as house:
            assert (await house.run("weekly"))["error"] is None
            pipeline = pipeline_named("weekly", house.system.services)
            again = await forecast(pipeline, RunOrder(), house.system.services)
            assert again.to_send == 0
            assert again.is_whole
            write_input(tmp_path, rows=6)
            more = await forecast(pipeline, RunOrder(), house.system.services)
            expected = {step.name: step for step in more.steps}["label"].expectation
            assert expected is not None
            assert (expected.already_paid, expected.to_send) == (5, 1)
            assert mock.calls["total"] == 5


async def _blobs(house: House) -> list[str]:
    return [blob_id async for blob_id in house.system.services.blobs.older_than(4e9)]

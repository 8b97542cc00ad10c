"""A run whose jobs and tables are in PostgreSQL, with a step that asks a model; taken over, resumed, erased."""

from pathlib import Path

from forebay.engine.runs import resume_run
from forebay.testing.mock_model import MockModel
from tests.integration.pipelines.house import opened
from tests.integration.pipelines.test_runs import write_input
from tests.integration.postgres_house import empty_place, server

PIPELINES = """
  weekly:
    steps:
      load:  {read: "in/*.csv"}
      clean: {sql: "SELECT id, text FROM load ORDER BY id"}
      label: {infer: {target: mock, prompt: "Classify: {text}"}, from: clean}
      save:  {write: out/labels.jsonl, from: label}
      late:  {read: late.csv, retries: 0}
"""


async def test_a_run_in_postgresql_is_taken_over_and_resumed_like_one_in_sqlite(tmp_path: Path) -> None:
    write_input(tmp_path, rows=5)
    url = f"{server().url()}?schema=runs"  # its own: a store is bound to its blobs
    await empty_place(url)
    async with MockModel() as mock:
        target = f'targets: {{mock: {{type: openai, base_url: "{mock.base_url}", models: [mock]}}}}'
        async with opened(tmp_path, PIPELINES, target, store=url) as house, house.system.worker():
            job_id = await house.begin("weekly")
            assert (await house.ended(job_id))["status"] == "failed"
            (tmp_path / "late.csv").write_text("id\n1\n")
            await resume_run(await house.job(job_id), house.system.services)
            assert (await house.ended(job_id))["error"] is None
            assert len(house.rows("out/labels.jsonl")) == 5
            again = await house.ended(await house.begin("weekly"))
            made = {name for name, step in again["steps"].items() if step["status"] != "reused"}
            assert made == {"late"}  # nobody knew its file as that step was begun
            assert mock.calls["total"] == 5

"""Runs of steps over tables: what is done in which order, what is taken over from earlier runs, how a run ends."""

from pathlib import Path

from forebay.engine.runs import resume_run
from tests.integration.pipelines.house import opened

SIMPLE = """
  weekly:
    params: {least: 10}
    steps:
      load: {read: "in/*.csv"}
      clean: {sql: "SELECT id, trim(text) AS text FROM load WHERE length(text) > 3"}
      count: {sql: "SELECT count(*) AS n FROM clean"}
      save: {write: "out/{run.pipeline}.jsonl", from: clean}
"""


def write_input(folder: Path, name: str = "a.csv", rows: int = 3) -> None:
    (folder / "in").mkdir(exist_ok=True)
    lines = ["id,text", *[f"{number},text number {number}" for number in range(rows)]]
    (folder / "in" / name).write_text("\n".join(lines) + "\n")


async def test_steps_run_each_after_what_it_needs(tmp_path: Path) -> None:
    write_input(tmp_path)
    async with opened(tmp_path, SIMPLE) as house:
        view = await house.run("weekly")
        assert view["error"] is None
        assert {name: step["status"] for name, step in view["steps"].items()} == dict.fromkeys(
            ("load", "clean", "count", "save"), "succeeded"
        )
        assert view["steps"]["clean"]["records"] == {"in": 3, "succeeded": 3, "failed": 0, "reused": 0}
        assert [row[1] for row in house.rows("out/weekly.jsonl")] == [f"text number {one}" for one in range(3)]


async def test_a_run_in_which_nothing_changed_takes_every_step_over(tmp_path: Path) -> None:
    write_input(tmp_path)
    async with opened(tmp_path, SIMPLE) as house:
        first = await house.run("weekly")
        again = await house.run("weekly")
        assert {step["status"] for step in again["steps"].values()} == {"reused"}
        assert {step["from_run"] for step in again["steps"].values()} == {first["id"]}
        write_input(tmp_path, "b.csv", rows=2)
        third = await house.run("weekly")
        assert {step["status"] for step in third["steps"].values()} == {"succeeded"}
        (tmp_path / "out" / "weekly.jsonl").unlink()
        fourth = await house.run("weekly")
        statuses = {name: step["status"] for name, step in fourth["steps"].items()}
        assert statuses == {"load": "reused", "clean": "reused", "count": "reused", "save": "succeeded"}
        assert len(house.rows("out/weekly.jsonl")) == 5


async def test_a_run_from_a_step_makes_it_and_all_after_it_anew(tmp_path: Path) -> None:
    write_input(tmp_path)
    async with opened(tmp_path, SIMPLE) as house:
        await house.run("weekly")
        view = await house.run("weekly", from_step="clean")
        statuses = {name: step["status"] for name, step in view["steps"].items()}
        assert statuses == {"load": "reused", "clean": "succeeded", "count": "succeeded", "save": "succeeded"}
        fresh = await house.run("weekly", is_fresh=True)
        assert {step["status"] for step in fresh["steps"].values()} == {"succeeded"}


async def test_a_failed_run_goes_on_at_the_step_that_failed(tmp_path: Path) -> None:
    pipelines = """
  broken:
    steps:
      load: {read: "in/*.csv"}
      late: {read: "late.csv", retries: 0}
      both: {sql: "SELECT * FROM load JOIN late USING (id)"}
"""
    write_input(tmp_path)
    async with opened(tmp_path, pipelines) as house:
        job_id = await house.begin("broken")
        await house.worker.run_until_idle()
        view = await house.view(job_id)
        assert view["status"] == "failed"
        assert view["error"]["code"] == "source_failed"
        assert "late" in view["error"]["message"]
        statuses = {name: step["status"] for name, step in view["steps"].items()}
        assert statuses == {"load": "succeeded", "late": "failed", "both": "cancelled"}
        (tmp_path / "late.csv").write_text("id,more\n1,x\n")
        await resume_run(await house.job(job_id), house.system.services)
        await house.worker.run_until_idle()
        view = await house.view(job_id)
        assert view["error"] is None
        assert view["steps"]["both"]["records"]["succeeded"] == 1


async def test_a_step_whose_condition_does_not_hold_is_skipped_with_those_after_it(tmp_path: Path) -> None:
    pipelines = """
  choosy:
    params: {mode: short}
    steps:
      load: {read: "in/*.csv"}
      many: {sql: "SELECT * FROM load", when: {load: {rows: [{numeric: [">", 100]}]}}}
      after: {sql: "SELECT * FROM many"}
      long: {sql: "SELECT 1 AS one FROM load", when: {params: {mode: [long]}}}
"""
    write_input(tmp_path)
    async with opened(tmp_path, pipelines) as house:
        view = await house.run("choosy")
        statuses = {name: step["status"] for name, step in view["steps"].items()}
        assert statuses == {"load": "succeeded", "many": "skipped", "after": "skipped", "long": "skipped"}
        assert view["status"] == "succeeded"
        view = await house.run("choosy", params={"mode": "long"})
        assert view["steps"]["long"]["status"] == "succeeded"


async def test_a_pipeline_calls_another_and_publishes_what_it_made(tmp_path: Path) -> None:
    pipelines = """
  inner:
    params: {least: null}
    steps:
      load: {read: "in/*.csv"}
      some: {sql: "SELECT * FROM load WHERE id::INT >= $params.least"}
  outer:
    steps:
      load: {read: "in/*.csv"}
      count: {sql: "SELECT count(*) AS n FROM load"}
      rest: {call: {pipeline: inner, params: {least: 2}}, needs: [load]}
      tell: {publish: {source: forebay, detail-type: counted, detail: {n: "{count[0].n}"}}, needs: [rest]}
      each: {publish: {source: forebay, detail-type: row, detail: {id: "{id}"}, per: record}, from: load}
"""
    write_input(tmp_path)
    async with opened(tmp_path, pipelines) as house:
        view = await house.run("outer")
        assert view["error"] is None
        called = view["steps"]["rest"]["output"]["value"]
        assert called["status"] == "succeeded"
        inner = await house.view(called["run_id"].replace("run_", "job_"))
        assert inner["trigger"]["type"] == "pipeline"
        assert inner["params"] == {"least": 2}
        events = await house.system.services.records.list("default", "event")
        texts = [event.data for event in events]
        assert len(texts) == 4
        assert sum('"counted' in text or "counted" in text for text in texts) == 1


async def test_a_cancelled_run_keeps_what_its_steps_have_made(tmp_path: Path) -> None:
    write_input(tmp_path)
    async with opened(tmp_path, SIMPLE) as house:
        job_id = await house.begin("weekly")
        await house.system.services.jobs.cancel("default", [job_id])
        await house.worker.run_until_idle()
        view = await house.view(job_id)
        assert view["status"] == "cancelled"
        assert {step["status"] for step in view["steps"].values()} == {"cancelled"}
        await resume_run(await house.job(job_id), house.system.services)
        await house.worker.run_until_idle()
        assert (await house.view(job_id))["status"] == "succeeded"

"""Nothing of what a run read, was told and made is left after its erasure; its row stays."""

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from forebay.domain.errors import Conflict
from forebay.domain.pipeline import RunTrigger, TriggerType
from forebay.engine.erasure import erase
from forebay.engine.runs import resume_run
from forebay.testing.mock_model import MockModel
from tests.integration.pipelines.house import opened

MARK = "7f3c-the-words-of-a-person"
PIPELINES = """
  weekly:
    params: {who: null}
    steps:
      load:  {read: one.csv}
      clean: {sql: "SELECT id, text, $params.who AS who FROM load"}
      label: {infer: {target: mock, prompt: "Classify: {text}"}, from: clean}
      told:  {infer_once: {target: mock, prompt: "Tell of {label}"}}
"""


def places(folder: Path) -> list[str]:
    """Every table and blob that has the mark; Parquet is not compressed where it is so short."""
    found = [
        path.name
        for path in (folder / "forebay.db.blobs").rglob("*")
        if path.is_file() and MARK.encode() in path.read_bytes()
    ]
    with closing(apsw.Connection(str(folder / "forebay.db"), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        for (table,) in list(connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")):
            found += [
                f"{table}: {row}"[:300] for row in connection.execute(f'SELECT * FROM "{table}"') if MARK in repr(row)
            ]
    return found


async def test_nothing_of_a_run_is_left_in_any_table_or_blob(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(f"id,text\n1,{MARK}\n")
    async with MockModel() as mock:
        target = f'targets: {{mock: {{type: openai, base_url: "{mock.base_url}", models: [mock]}}}}'
        async with opened(tmp_path, PIPELINES, target) as house:
            trigger = RunTrigger(type=TriggerType.EVENT, name="weekly", detail={"words": MARK})
            job_id = await house.begin("weekly", params={"who": MARK}, trigger=trigger)
            await house.worker.run_until_idle()
            assert (await house.view(job_id))["error"] is None
            assert places(tmp_path) != []
            await erase("default", job_id, house.system.services)
            assert places(tmp_path) == []
            view = await house.view(job_id)
            assert (view["pipeline"], view["status"], view["steps"]) == ("weekly", "succeeded", {})
            again = await house.run("weekly", params={"who": "nobody"})
            assert {step["status"] for step in again["steps"].values()} == {"succeeded"}


async def test_an_erased_run_is_not_resumed(tmp_path: Path) -> None:
    async with opened(tmp_path, "  weekly: {steps: {load: {read: none.csv, retries: 0}}}") as house:
        job_id = await house.begin("weekly")
        await house.worker.run_until_idle()
        await erase("default", job_id, house.system.services)
        with pytest.raises(Conflict, match="erased"):
            await resume_run(await house.job(job_id), house.system.services)

"""The key ``pipelines``: what is read, and what is told of everything that is wrong, with its line."""

from pathlib import Path
from textwrap import indent

import pytest

from forebay.domain.errors import ConfigurationError
from forebay.domain.pipeline import CatchUp, Overlap, Pipeline, StepKind, Tolerance, TriggerType
from forebay.settings import load_settings

WHOLE = """
on: [{cron: "0 2 * * 1", timezone: Europe/Berlin}, {event: {source: [crm]}}]
overlap: queue
catch_up: latest
budget_usd: 20
params: {least: 3}
steps:
  tell:  {publish: {source: x, detail-type: y, detail: {n: "{count[0].n}"}}}
  load:  {read: "in/*.parquet", timeout: 10m}
  clean: {sql: "WITH l AS (SELECT * FROM load) SELECT * FROM l", tolerate_failures: 1%, retries: 0}
  count: {sql: "SELECT count(*) AS n FROM Clean"}
  save:  {write: "out/{run.date}/{params.least}.csv", from: clean, needs: [count], when: {count: {rows: [1]}}}
"""


def read(folder: Path, text: str, name: str = "weekly") -> Pipeline:
    config = folder / "forebay.yaml"
    config.write_text(f"pipelines:\n  {name}:\n{indent(text, '    ')}")
    return load_settings(config, {}).pipelines[name]


def problem(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read(folder, text)
    return str(refused.value)


def test_a_pipeline_is_read_with_its_steps_in_the_order_of_their_needs(tmp_path: Path) -> None:
    pipeline = read(tmp_path, WHOLE)
    assert [step.name for step in pipeline.steps] == ["load", "clean", "count", "tell", "save"]
    steps = {step.name: step for step in pipeline.steps}
    assert steps["clean"].inputs == ("load",)
    assert steps["count"].inputs == ("clean",)  # SQL compares names in any case
    assert steps["tell"].inputs == ("count",)
    assert steps["save"].inputs == ("clean",)
    assert steps["save"].needs == ("clean", "count")
    assert steps["load"].kind is StepKind.READ
    assert steps["load"].options == {"path": "in/*.parquet"}
    assert steps["load"].timeout_seconds == 600
    assert steps["clean"].tolerance == Tolerance(share=0.01)
    assert steps["clean"].retries == 0
    assert [trigger.type for trigger in pipeline.triggers] == [TriggerType.CRON, TriggerType.EVENT]
    assert [trigger.name for trigger in pipeline.triggers] == ["weekly", "weekly-2"]
    assert (pipeline.overlap, pipeline.catch_up) == (Overlap.QUEUE, CatchUp.LATEST)
    assert pipeline.folder == str(tmp_path)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("stps: {}", 3, "unknown key; did you mean 'steps'?"),
        ("steps: {}", 3, "must be a mapping of one step or more"),
        ("steps:\n  a: {reed: x}", 4, "says nothing to do"),
        ("steps:\n  a: {read: x, sql: y}", 4, "a step does one thing"),
        ("steps:\n  a: {read: x, neds: [b]}", 4, "unknown key; did you mean 'needs'?"),
        ("steps:\n  a: {read: x}\n  b: {sql: SELEC 1}", 5, "line 1, column 1"),
        ("steps:\n  load: {read: x}\n  b: {sql: SELECT * FROM laod}", 5, "there is no such step; did you mean 'load'?"),
        ("steps:\n  load: {read: x}\n  b: {write: y, from: laod}", 5, "there is no step 'laod'; did you mean 'load'?"),
        ("steps:\n  a: {sql: SELECT * FROM b}\n  b: {sql: SELECT * FROM a}", 4, "needs itself: a → b → a"),
        ("steps:\n  a: {write: out.csv}", 4, "takes the records of no step"),
        ("steps:\n  a: {read: x}\n  b: {read: y}\n  c: {write: o.csv, needs: [a, b]}", 6, "say which of them"),
        ("steps:\n  a: {read: '{params.week}'}", 4, "names {params.week}, which `params` does not declare"),
        ("steps:\n  a: {read: '{run.dat}'}", 4, "a run has id, pipeline, date, time, trigger"),
        ("steps:\n  a: {read: x, tolerate_failures: some}", 4, "a share such as 1%"),
        ("steps:\n  a: {read: x, retries: -1}", 4, "must be a whole number"),
        ("steps:\n  a: {read: x, timeout: soon}", 4, "must be a duration"),
        ("steps:\n  a: {read: x, when: {count: 3}}", 4, "array"),
        ("steps:\n  run: {read: x}", 4, "a step's name is"),
        ("steps:\n  a: {call: nowhere}", 4, "there is no pipeline 'nowhere'"),
        ("steps:\n  a: {call: weekly}", 3, "calls itself: weekly → weekly"),
        (
            "overlap: skipp\nsteps:\n  a: {read: x}",
            3,
            "is not one of skip, queue, replace, allow; did you mean 'skip'?",
        ),
        (
            "steps:\n  a: {read: x}\n  b: {infer_once: {target: t, prompt: 'Of {aa}'}, needs: [a]}",
            5,
            "did you mean 'a'?",
        ),
        (
            "steps:\n  a: {read: x}\n  b: {sql: 'SELECT * FROM a WHERE 1 > $params.leest'}",
            5,
            "`params` does not declare",
        ),
        (
            "steps:\n  lod: {read: x}\n  b: {sql: SELECT * FROM lod, when: {load: {rows: [1]}}}",
            5,
            "did you mean 'lod'?",
        ),
        ("steps:\n  a: {read: x}\n  b: {report: {text: '{% if %}'}, from: a}", 5, "its template is wrong in line 1"),
        (
            "steps:\n  a: {read: x}\n  b: {infer: {model: nope, prompt: x}, from: a}",
            5,
            "The model 'nope' does not exist here",
        ),
        ("steps:\n  a: {reed: x}", 4, "did you mean 'read'?"),
        ("on: {cron: 61 * * * *}\nsteps:\n  a: {read: x}", 3, "cron"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_a_suggestion(tmp_path: Path, text: str, line: int, says: str) -> None:
    told = problem(tmp_path, text)
    assert says in told
    assert f"line {line}: pipelines.weekly" in told


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    told = problem(tmp_path, "overlap: x\nsteps:\n  a: {sql: SELEC}\n  b: {read: x, retries: -1}")
    assert len(told.splitlines()) == 3


def test_a_pipeline_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "weekly.yaml").write_text(WHOLE)
    config = tmp_path / "forebay.yaml"
    config.write_text("pipelines: {weekly: flows/weekly.yaml}")
    pipeline = load_settings(config, {}).pipelines["weekly"]
    assert pipeline.folder == str(tmp_path / "flows")
    assert len(pipeline.steps) == 5
    (tmp_path / "flows" / "weekly.yaml").write_text("steps:\n  a: {reed: x}")
    with pytest.raises(ConfigurationError, match=r"flows/weekly\.yaml, line 2"):
        load_settings(config, {})
    config.write_text("pipelines: {weekly: flows/none.yaml}")
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_settings(config, {})

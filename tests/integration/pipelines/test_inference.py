"""Steps that ask a model of each record."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.domain.pipeline import Tolerance
from forebay.engine.services import Bounds
from tests.integration.pipelines.inference_house import House, Row, open_house, spec_of

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


async def test_a_record_that_lacks_what_the_template_names_is_rejected_alone(house: House) -> None:
    rows: list[Row] = [{"id": 1, "a": {"b": "x"}}, {"id": 2, "a": None}]
    outcome = await house.run(rows, spec_of({"target": "t", "prompt": "say {a.b}"}, tolerance=Tolerance(count=1)))
    [rejected] = await house.rows(outcome.output.rejected)
    assert (rejected["id"], rejected["error"]["code"]) == (2, "template_field_missing")
    assert (outcome.counts.succeeded, outcome.counts.failed, house.asked()) == (1, 1, ["say x"])


async def test_a_column_that_no_record_has_fails_the_step_before_anything_is_sent(house: House) -> None:
    job = await house.ended(await house.job([{"id": 1, "text": "a"}], spec_of({"target": "t", "prompt": "{txt}"})))
    assert job.error is not None
    assert job.error.code == "template_field_missing"
    assert "did you mean 'text'" in job.error.message
    assert house.asked() == []


async def test_the_prompt_sees_the_run_and_its_parameters(house: House) -> None:
    await house.run(
        [{"text": "a"}], spec_of({"target": "t", "system": "Be {params.tone}", "prompt": "{run.date} {text}"})
    )
    assert house.asked() == ["2026-11-21 a"]


async def test_a_column_that_is_called_output_is_kept_under_another_name(house: House) -> None:
    outcome = await house.run([{"output": "old"}], spec_of({"target": "t", "prompt": "{output}"}))
    assert await house.rows(outcome.output.table) == [{"input_output": "old", "output": "OLD"}]


async def test_a_table_of_no_records_gives_a_table_of_none(house: House) -> None:
    table = await house.table([{"text": "a"}])
    empty = await house.emptied(table)
    outcome = await house.run(empty, STEP)
    assert outcome.counts.entered == 0
    assert outcome.output.table is not None
    assert outcome.output.table.columns == {"text": "VARCHAR", "output": "VARCHAR"}


async def test_more_records_than_a_batch_holds_are_asked_in_several(tmp_path: Path) -> None:
    async with open_house(tmp_path, bounds=Bounds(max_batch_lines=4)) as house:
        rows = [{"text": str(number)} for number in range(10)]
        outcome = await house.run(rows, STEP)
        assert [row["output"] for row in await house.rows(outcome.output.table)] == [f"SAY {n}" for n in range(10)]
        assert (outcome.calls, len(house.asked())) == (10, 10)


async def test_an_object_is_a_struct_whose_fields_sql_can_name(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"label": {"type": "string"}, "score": {"type": "number"}}}
    says = {"good": '{"label": "yes", "score": 1}', "odd": '{"label": "no", "more": [1, 2]}'}
    async with open_house(tmp_path, lambda prompt: says[prompt]) as house:
        step = spec_of({"target": "t", "prompt": "{text}", "schema": schema})
        outcome = await house.run([{"text": "good"}, {"text": "odd"}], step)
        assert outcome.output.table is not None
        assert outcome.output.table.columns["output"] == 'STRUCT("label" VARCHAR, score DOUBLE, more BIGINT[])'
        assert [row["output"] for row in await house.rows(outcome.output.table)] == [
            {"label": "yes", "score": 1.0, "more": None},
            {"label": "no", "score": None, "more": [1, 2]},
        ]


async def test_an_answer_that_stays_invalid_is_rejected_after_bounded_asking(tmp_path: Path) -> None:
    schema = {"type": "object", "required": ["label"]}
    async with open_house(tmp_path, lambda prompt: "no JSON" if "bad" in prompt else '{"label": 1}') as house:
        step = spec_of(
            {"target": "t", "prompt": "{text}", "schema": schema, "max_attempts": 3}, tolerance=Tolerance(share=0.5)
        )
        outcome = await house.run([{"text": "bad"}, {"text": "fine"}], step)
        [rejected] = await house.rows(outcome.output.rejected)
        assert (rejected["text"], rejected["error"]["code"]) == ("bad", "invalid_output")
        assert outcome.calls == 4


async def test_more_failures_than_are_tolerated_fail_the_step_and_the_rest_is_kept(tmp_path: Path) -> None:
    schema = {"type": "object"}
    async with open_house(tmp_path, lambda prompt: "no JSON" if "bad" in prompt else "{}") as house:
        step = spec_of({"target": "t", "prompt": "{text}", "schema": schema, "max_attempts": 1})
        job = await house.ended(await house.job([{"text": "bad"}, {"text": "fine"}], step))
        assert job.error is not None
        assert job.error.code == "too_many_failures"
        house.asked()
        await house.ended(await house.job([{"text": "bad"}, {"text": "fine"}], step))
        assert house.asked() == ["bad"]


async def test_a_number_beyond_what_most_columns_hold_is_kept_as_it_is(tmp_path: Path) -> None:
    says = {"big": '{"n": 18446744073709551615}', "small": '{"n": 7}'}
    async with open_house(tmp_path, lambda prompt: says[prompt]) as house:
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        step = spec_of({"target": "t", "prompt": "{text}", "schema": schema})
        outcome = await house.run([{"text": "big"}, {"text": "small"}], step)
        assert [row["output"] for row in await house.rows(outcome.output.table)] == [{"n": 2**64 - 1}, {"n": 7}]

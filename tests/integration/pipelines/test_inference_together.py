"""Several records in one call; one call for a whole table; vectors."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from forebay.domain.attempt import Usage
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.pipeline import StepKind, StepOutput, StepWork
from tests.integration.pipelines.inference_house import SCOPE, Row, open_house, spec_of

TEXTS = [{"id": number + 100, "text": f"word {number}"} for number in range(5)]
TOGETHER = spec_of({"target": "t", "prompt": "say {text}", "records_per_call": 2})
_TASK = re.compile(r'<task id="(\d+)">\n(.*?)\n</task>', re.DOTALL)


def together(change: Callable[[list[Row]], list[Row]] = list) -> Callable[[str], str]:
    """A model that answers each task in capitals; ``change`` is what it gets wrong."""

    def says(prompt: str) -> str:
        answers = [{"id": int(number), "output": task.upper()} for number, task in _TASK.findall(prompt)]
        return json.dumps({"answers": change(answers)}) if answers else prompt.upper()

    return says


async def test_records_share_a_call_and_each_has_its_own_answer(tmp_path: Path) -> None:
    async with open_house(tmp_path, together(lambda answers: answers[::-1])) as house:
        outcome = await house.run(TEXTS, TOGETHER)
        assert [row["output"] for row in await house.rows(outcome.output.table)] == [
            f"SAY WORD {number}" for number in range(5)
        ]
        assert (len(house.asked()), outcome.calls, outcome.counts.succeeded) == (3, 3, 5)


@pytest.mark.parametrize(
    "wrong", [lambda answers: answers[1:], lambda answers: [answers[0], *answers]], ids=["missing", "doubled"]
)
async def test_a_missing_or_doubled_id_is_asked_for_again_alone(
    tmp_path: Path, wrong: Callable[[list[Row]], list[Row]]
) -> None:
    async with open_house(tmp_path, together(wrong)) as house:
        outcome = await house.run(TEXTS, TOGETHER)
        assert [row["output"] for row in await house.rows(outcome.output.table)] == [
            f"SAY WORD {number}" for number in range(5)
        ]
        alone = [prompt for prompt in house.asked() if "<task" not in prompt]
        assert alone == ["say word 0", "say word 2", "say word 4"]
        assert outcome.output.rejected is None


async def test_a_call_whose_answer_is_none_at_all_is_asked_again_record_by_record(tmp_path: Path) -> None:
    async with open_house(tmp_path, lambda prompt: "nonsense" if "<task" in prompt else prompt) as house:
        step = spec_of({**TOGETHER.options, "max_attempts": 1})
        outcome = await house.run(TEXTS[:2], step)
        assert [row["output"] for row in await house.rows(outcome.output.table)] == ["say word 0", "say word 1"]
        assert len(house.asked()) == 3


async def test_another_number_of_records_in_a_call_pays_for_none_again(tmp_path: Path) -> None:
    async with open_house(tmp_path, together()) as house:
        await house.run(TEXTS, TOGETHER)
        house.asked()
        outcome = await house.run(TEXTS, spec_of({"target": "t", "prompt": "say {text}"}))
        assert (house.asked(), outcome.counts.reused) == ([], 5)


async def test_each_output_is_held_against_the_schema_of_one(tmp_path: Path) -> None:
    def says(prompt: str) -> str:
        tasks = _TASK.findall(prompt)
        answers = [{"id": int(number), "output": {"n": int(number)}} for number, _ in tasks]
        return json.dumps({"answers": answers} if tasks else {"n": 0})

    schema = {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}
    async with open_house(tmp_path, says) as house:
        outcome = await house.run(TEXTS[:2], spec_of({**TOGETHER.options, "schema": schema}))
        assert [row["output"] for row in await house.rows(outcome.output.table)] == [{"n": 1}, {"n": 2}]


async def test_a_prompt_may_be_given_the_records_themselves(tmp_path: Path) -> None:
    def says(prompt: str) -> str:
        records = json.loads(prompt.partition("\n")[0])
        return json.dumps({"answers": [{"id": one["id"], "output": one["record"]["text"]} for one in records]})

    async with open_house(tmp_path, says) as house:
        step = spec_of({"target": "t", "prompt": "{records}", "records_per_call": 3})
        outcome = await house.run(TEXTS, step)
        assert [row["output"] for row in await house.rows(outcome.output.table)] == [row["text"] for row in TEXTS]
        assert len(house.asked()) == 2


def vectors(call: Call) -> InferenceResult:
    """An endpoint of embeddings: of each text its length."""
    given = json.loads(call.body)["input"]
    texts = given if isinstance(given, list) else [given]
    data = [{"index": place, "embedding": [float(len(text)), 0.5]} for place, text in enumerate(texts)]
    body = json.dumps({"data": data[::-1]}).encode()
    return InferenceResult(
        status_code=200, body=body, content_type="application/json", usage=Usage(input_tokens=len(texts))
    )


@pytest.mark.parametrize(("per_call", "calls"), [(1, 5), (2, 3)])
async def test_an_embedding_is_a_list_of_floats(tmp_path: Path, per_call: int, calls: int) -> None:
    async with open_house(tmp_path, answering=vectors) as house:
        options = {"target": "t", "endpoint": "/v1/embeddings", "body": {"input": "{text}"}}
        outcome = await house.run(TEXTS, spec_of({**options, "records_per_call": per_call}))
        assert outcome.output.table is not None
        assert outcome.output.table.columns["output"] == "FLOAT[]"
        assert [row["output"] for row in await house.rows(outcome.output.table)] == [[6.0, 0.5]] * 5
        assert len(house.model.calls) == calls


async def test_one_call_sees_whole_tables_and_gives_a_value(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        table = await house.table([{"label": "good", "n": 3}, {"label": "bad", "n": 1}])
        step = spec_of({"target": "t", "prompt": "sum up {rows} {note} {run.date}"}, StepKind.INFER_ONCE)
        inputs = {"rows": StepOutput(table=table), "note": StepOutput(value="as of")}
        work = StepWork(run_id="run_1", pipeline="p", step=step, inputs=inputs, scope=SCOPE)
        outcome = await house.outcome(await house.ended(await house.add(work)))
        told = 'sum up [{"label":"good","n":3},{"label":"bad","n":1}] as of 2026-11-21'
        assert (house.asked(), outcome.output.value) == ([told], told.upper())
        assert await house.rows(outcome.output.table) == [{"output": told.upper()}]
        again = await house.outcome(await house.ended(await house.add(work)))
        assert (house.asked(), again.counts.reused) == ([], 1)


async def test_a_table_in_a_prompt_has_two_hundred_rows_at_most(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        table = await house.table([{"n": number} for number in range(300)])
        step = spec_of({"target": "t", "prompt": "{rows}"}, StepKind.INFER_ONCE)
        work = StepWork(run_id="run_1", pipeline="p", step=step, inputs={"rows": StepOutput(table=table)})
        await house.ended(await house.add(work))
        [prompt] = house.asked()
        assert [row["n"] for row in json.loads(prompt)] == list(range(200))


async def test_the_one_call_of_a_step_says_itself_why_it_failed(tmp_path: Path) -> None:
    async with open_house(tmp_path, lambda _prompt: "no JSON") as house:
        options = {"target": "t", "prompt": "{rows}", "schema": {"type": "object"}, "max_attempts": 1}
        table = await house.table([{"n": 1}])
        work = house.work(table, spec_of(options, StepKind.INFER_ONCE))
        job = await house.ended(await house.add(work))
        assert job.error is not None
        assert (job.error.code, "not JSON" in job.error.message) == ("invalid_output", True)

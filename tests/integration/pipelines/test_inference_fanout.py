"""Steps that ask several targets of each record."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.errors import TargetRejected
from forebay.domain.pipeline import StepKind, Tolerance
from forebay.testing.targets import ScriptedTarget
from tests.integration.pipelines.inference_house import House, Row, open_house, prompt_of, saying, spec_of

ROWS: list[Row] = [{"id": number, "text": f"word {number}"} for number in range(3)]


def step(**options: Any) -> Any:
    fields = {"tolerance": options.pop("tolerance")} if "tolerance" in options else {}
    return spec_of({"targets": ["t", "u"], "prompt": "say {text}", **options}, StepKind.FANOUT, **fields)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    other = ScriptedTarget("u", [saying(str.title)])
    async with open_house(tmp_path, others=[other]) as opened:
        yield opened


def text_of(entry: Row) -> str:
    text: str = entry["body"]["choices"][0]["message"]["content"]
    return text


async def test_the_output_has_an_entry_for_every_branch(house: House) -> None:
    outcome = await house.run(ROWS, step())
    outputs = [row["output"] for row in await house.rows(outcome.output.table)]
    assert [(text_of(one["t"]), text_of(one["u"])) for one in outputs] == [
        (f"SAY WORD {number}", f"Say Word {number}") for number in range(3)
    ]
    assert (outcome.counts.succeeded, outcome.usage and outcome.usage.total_tokens) == (3, 30)


async def test_a_second_run_asks_no_branch_again(house: House) -> None:
    await house.run(ROWS, step())
    house.asked()
    again = await house.run([*ROWS, {"id": 3, "text": "more"}], step())
    assert (house.asked(), again.counts.reused) == (["say more"], 3)


async def test_another_way_to_ask_is_asked_again(house: House) -> None:
    await house.run(ROWS[:1], step())
    await house.run(ROWS[:1], step(join="first"))
    await house.run(ROWS[:1], step(targets=["t", "u/another"]))
    assert len(house.asked()) == 3


async def test_the_first_answer_is_the_output_and_the_branches_are_kept_beside_it(house: House) -> None:
    outcome = await house.run(ROWS, step(join="first", aggregate="first"))
    rows = await house.rows(outcome.output.table)
    assert [row["output"].lower() for row in rows] == [f"say word {number}" for number in range(3)]
    assert all(set(row["branches"]) == {"t", "u"} for row in rows)


async def test_a_vote_counts_what_the_branches_say(tmp_path: Path) -> None:
    others = [ScriptedTarget(name, [saying(lambda _prompt: "no")]) for name in ("u", "v")]
    async with open_house(tmp_path, lambda _prompt: "yes", others=others) as house:
        vote = {"vote": "choices[0].message.content"}
        outcome = await house.run(ROWS[:1], step(targets=["t", "u", "v"], aggregate=vote))
        [row] = await house.rows(outcome.output.table)
        assert (row["output"]["winner"], row["output"]["tie"]) == ("no", False)


async def test_a_branch_that_fails_is_told_and_its_record_succeeds_with_the_others(tmp_path: Path) -> None:
    other = ScriptedTarget("u", [TargetRejected("not this", status_code=400)])
    async with open_house(tmp_path, others=[other]) as house:
        outcome = await house.run(ROWS[:1], step())
        [row] = await house.rows(outcome.output.table)
        assert (row["output"]["t"]["status"], row["output"]["u"]["error"]["code"]) == ("succeeded", "target_rejected")


async def test_on_failure_fail_rejects_the_record(tmp_path: Path) -> None:
    other = ScriptedTarget("u", [TargetRejected("not this", status_code=400)])
    async with open_house(tmp_path, others=[other]) as house:
        outcome = await house.run(ROWS[:1], step(on_failure="fail", tolerance=Tolerance(count=1)))
        [rejected] = await house.rows(outcome.output.rejected)
        assert (rejected["id"], rejected["error"]["code"]) == (0, "branch_failed")


async def test_entries_have_bodies_of_their_own_and_a_target_sums_up(tmp_path: Path) -> None:
    summing = ScriptedTarget("u", [saying(lambda prompt: f"of {prompt}")])
    body = {"messages": [{"role": "user", "content": "{text}"}]}
    told = {"messages": [{"role": "user", "content": "{event.id}: {results.loud.status}"}]}
    async with open_house(tmp_path, others=[summing]) as house:
        options = {"targets": {"loud": {"target": "t", "body": body}}, "aggregate": {"target": "u", "body": told}}
        outcome = await house.run(ROWS, spec_of(options, StepKind.FANOUT))
        assert [row["output"] for row in await house.rows(outcome.output.table)] == [
            f"of {number}: succeeded" for number in range(3)
        ]
        assert sorted(prompt_of(call) for call in house.model.calls) == ["word 0", "word 1", "word 2"]


async def test_no_branch_is_left_behind_by_the_first_to_answer(house: House) -> None:
    await house.run(ROWS, step(join="first", aggregate="first"))
    assert not await house.live()


async def test_a_budget_that_stops_a_branch_ends_the_step_and_keeps_no_half_of_a_record(tmp_path: Path) -> None:
    async with open_house(tmp_path, others=[ScriptedTarget("u", [saying(str.title)])]) as house:
        job = await house.ended(await house.job(ROWS, step(budget_usd=1)))
        assert job.error is not None
        assert (job.error.code, house.asked()) == ("price_unknown", [])

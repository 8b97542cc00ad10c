"""What is paid for once: over runs, over changes, and over deaths at any instant."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.domain.asking import PAID, Begun, Form, paid_memory
from forebay.domain.job import Status
from forebay.engine.handlers.inference import expect
from forebay.engine.handlers.inference.paid import change_paid, with_begun
from forebay.engine.intake import store_bytes
from forebay.testing.clock import FakeClock
from tests.integration.pipelines.inference_house import House, Row, open_house, spec_of

STEP = spec_of({"target": "t", "prompt": "say {text}"})
ROWS: list[Row] = [{"id": number, "text": f"word {number}"} for number in range(6)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


async def test_a_second_run_of_the_same_records_asks_nothing(house: House) -> None:
    first = await house.run(ROWS, STEP)
    house.asked()
    second = await house.run(ROWS, STEP)
    assert house.asked() == []
    assert (second.counts.reused, second.counts.succeeded, second.calls, second.cost_usd) == (6, 6, 0, None)
    assert first.output.table
    assert second.output.table
    assert second.output.table.digest == first.output.table.digest


async def test_a_changed_row_pays_alone_and_a_moved_one_does_not(house: House) -> None:
    await house.run(ROWS, STEP)
    house.asked()
    changed = [{**ROWS[3], "text": "another"}, *ROWS[4:], *ROWS[:3]]
    outcome = await house.run(changed, STEP)
    assert house.asked() == ["say another"]
    assert [row["output"] for row in await house.rows(outcome.output.table)] == [
        f"SAY {row['text'].upper()}" for row in changed
    ]


async def test_a_changed_column_that_the_prompt_does_not_name_costs_nothing(house: House) -> None:
    await house.run(ROWS, STEP)
    house.asked()
    outcome = await house.run([{**row, "id": row["id"] + 100} for row in ROWS], STEP)
    assert house.asked() == []
    assert [row["id"] for row in await house.rows(outcome.output.table)] == [100, 101, 102, 103, 104, 105]


async def test_what_is_asked_in_another_way_is_paid_again(house: House) -> None:
    await house.run(ROWS[:2], STEP)
    for change in ({"prompt": "tell {text}"}, {"params": {"temperature": 0}}, {"model": "other"}):
        house.asked()
        await house.run(ROWS[:2], spec_of({**STEP.options, **change}))
        assert len(house.asked()) == 2


async def test_equal_records_are_each_asked_and_each_remembered(house: House) -> None:
    twice = [{"id": 1, "text": "same"}, {"id": 2, "text": "same"}]
    await house.run(twice, STEP)
    assert len(house.asked()) == 2
    await house.run([*twice, {"id": 3, "text": "same"}], STEP)
    assert len(house.asked()) == 1


async def test_a_fresh_run_pays_for_all_again(house: House) -> None:
    await house.run(ROWS, STEP)
    house.asked()
    table = await house.table(ROWS)
    job = await house.add(house.work(table, STEP, is_fresh=True))
    outcome = await house.outcome(await house.ended(job))
    assert (len(house.asked()), outcome.counts.reused) == (6, 0)


async def test_a_run_that_was_cancelled_leaves_what_it_paid(house: House) -> None:
    house.model.gate.clear()
    job = await house.job(ROWS, STEP)
    working = asyncio.create_task((await house.worker()).run_until_idle())
    await house.model.entered.wait()
    await house.services.jobs.cancel("default", [job.id])
    house.model.gate.set()
    await working
    cancelled = await house.get(job.id)
    paid = len(house.asked())
    assert cancelled.status is Status.CANCELLED
    assert (await house.outcome(cancelled)).counts.succeeded == paid
    outcome = await house.run(ROWS, STEP)
    assert (len(house.asked()), outcome.counts.reused) == (6 - paid, paid)
    assert paid > 0


async def test_answers_that_no_run_uses_are_forgotten_in_time(house: House) -> None:
    await house.run(ROWS, STEP)
    await house.run(ROWS[:3], STEP)
    assert isinstance(house.clock, FakeClock)
    house.clock.advance(31 * 86_400.0)
    await house.run(ROWS[:3], STEP)
    house.asked()
    await house.run(ROWS, STEP)
    assert sorted(house.asked()) == [f"say word {number}" for number in (3, 4, 5)]


async def test_what_is_paid_is_one_table_after_every_run(house: House) -> None:
    for number in range(2):
        await house.run([*ROWS, {"id": 9, "text": f"new {number}"}], STEP)
    record = await house.services.records.get("default", PAID, "p/label")
    assert record is not None
    memory = paid_memory(record.data)
    assert (len(memory.tables), memory.begun) == (1, ())
    assert record.blobs == memory.tables


async def test_a_dry_run_tells_what_would_be_asked_and_asks_nothing(house: House) -> None:
    await house.run(ROWS[:2], STEP)
    house.asked()
    rows = [*ROWS, {"id": 7, "text": None}]
    expected = await expect(
        house.work(await house.table(rows), spec_of({**STEP.options, "params": {}})), house.services
    )
    assert (expected.records, expected.already_paid, expected.to_send, expected.refused) == (7, 2, 5, 0)
    assert [one["body"]["messages"][0]["content"] for one in expected.requests] == [
        f"say word {number}" for number in (2, 3, 4)
    ]
    assert (expected.cost_usd, expected.output_tokens) == (None, 5 * 1024)
    assert house.asked() == []


async def test_a_batch_that_was_named_and_never_added_is_forgotten(house: House) -> None:
    work = house.work(await house.table(ROWS), STEP)
    blob = await store_bytes(b"", house.services.blobs)
    lost = Begun(batch_id="job_lost", owner="job_dead", input_blob_id=blob.blob_id or "", form=Form.ALONE)
    await change_paid(work, house.services, lambda memory: with_begun(memory, lost))
    outcome = await house.run(ROWS, STEP)
    assert (outcome.counts.succeeded, len(house.asked())) == (6, 6)


@pytest.mark.parametrize("is_fresh", [False, True])
async def test_a_cancelled_step_that_is_resumed_asks_what_is_left_and_no_more(house: House, is_fresh: bool) -> None:
    if is_fresh:  # what earlier runs have paid for does not count, and what this one has does
        await house.run(ROWS, STEP)
        house.asked()
    house.model.gate.clear()
    job = await house.add(house.work(await house.table(ROWS), STEP, is_fresh=is_fresh))
    assert isinstance(house.clock, FakeClock)
    house.clock.advance(1.0)
    working = asyncio.create_task((await house.worker()).run_until_idle())
    await house.model.entered.wait()
    await house.services.jobs.cancel("default", [job.id])
    house.model.gate.set()
    await working
    assert (await house.get(job.id)).status is Status.CANCELLED
    await house.services.jobs.retry("default", [job.id])
    done = await house.ended(job)
    assert (done.status, len(house.asked())) == (Status.SUCCEEDED, 6)
    assert (await house.outcome(done)).counts.succeeded == 6


async def test_what_another_run_has_paid_meanwhile_is_not_asked_by_one_that_is_resumed(house: House) -> None:
    job = await house.job(ROWS, STEP)
    await house.services.jobs.cancel("default", [job.id])
    assert (await house.ended(job)).status is Status.CANCELLED
    await house.run(ROWS, STEP)
    house.asked()
    await house.services.jobs.retry("default", [job.id])
    outcome = await house.outcome(await house.ended(job))
    assert (house.asked(), outcome.counts.reused) == ([], 6)

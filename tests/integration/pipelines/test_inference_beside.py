"""Runs of one pipeline side by side, and what a batch had answered before its end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.domain.asking import Begun, Form, asking_of
from forebay.domain.job import Job, Status
from forebay.domain.lane import CONTROL
from forebay.domain.order import Order
from forebay.engine.handlers.batch.lines import CUSTOM_ID
from forebay.engine.handlers.inference.harvest import harvest
from forebay.engine.intake import make_job, store_bytes
from forebay.engine.worker import WorkerOptions, WorkerProcess
from tests.integration.pipelines.inference_house import House, Row, open_house, spec_of

STEP = spec_of({"target": "t", "prompt": "say {text}"})
ROWS: list[Row] = [{"id": number, "text": f"word {number}"} for number in range(6)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, is_live=True) as opened:
        opened.model.gate.clear()
        async with WorkerProcess(opened.services, WorkerOptions()):
            yield opened
            opened.model.gate.set()


async def test_a_run_waits_for_the_answers_that_another_live_one_has_asked_for(house: House) -> None:
    first = await house.job(ROWS, STEP)
    await house.model.entered.wait()
    second = await house.job(ROWS, STEP)

    async def is_waiting() -> bool:
        return bool(asking_of((await house.get(second.id)).progress).waits_for)

    await house.until(is_waiting)
    house.model.gate.set()
    assert (await house.over(first)).status is Status.SUCCEEDED
    outcome = await house.outcome(await house.over(second))
    assert (len(house.asked()), outcome.counts.reused, outcome.calls) == (6, 6, 0)


async def test_runs_that_share_no_record_do_not_wait_for_each_other(house: House) -> None:
    first = await house.job(ROWS[:3], STEP)
    await house.model.entered.wait()
    second = await house.job(ROWS[3:], STEP)

    async def has_begun() -> bool:
        return asking_of((await house.get(second.id)).progress).batch is not None

    await house.until(has_begun)
    house.model.gate.set()
    for job in (first, second):
        assert (await house.over(job)).status is Status.SUCCEEDED
    assert len(house.asked()) == 6
    again = await house.outcome(await house.over(await house.job(ROWS, STEP)))
    assert (house.asked(), again.counts.reused) == ([], 6)


async def test_lines_that_succeeded_and_stand_in_no_segment_are_harvested(house: House) -> None:
    """As of a batch that poison ended: its handler has not taken them over."""
    services, now = house.services, house.clock.now()
    batch = Job(
        id=services.ids.new("job"),
        kind="batch",
        queue=CONTROL,
        is_group=True,
        created_at=now,
        not_before=now + 3600,
        due_at=now + 3600,
        deadline=now + 7200,
    )
    body = '{"messages":[{"role":"user","content":"word"}]}'
    lines = [
        await make_job(Order(body=body, target="t", parent_id=batch.id, key=key, metadata={CUSTOM_ID: key}), services)
        for key in ("a", "b")
    ]
    await services.jobs.add([batch, *lines])
    house.model.gate.set()
    for line in lines:
        assert (await house.over(line)).status is Status.SUCCEEDED
    given = await store_bytes(b"", services.blobs)
    begun = Begun(batch_id=batch.id, owner="job_dead", input_blob_id=given.blob_id or "", form=Form.ALONE)
    assert services.requests is not None
    answers, calls = await harvest(begun, batch, services.requests, services)
    assert (answers.answered, answers.failed, calls) == (2, 0, 2)

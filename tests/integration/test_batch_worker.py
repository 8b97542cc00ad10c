"""A batch over several workers' lives."""

import asyncio
from pathlib import Path

from forebay.domain.batch import job_id_of
from forebay.testing.mock_model import MockOptions
from tests.integration.batch_house import PATIENCE_SECONDS, House, request, running_house


async def completed(house: House, batch_id: str) -> int:
    counts = (await house.openai.batches.retrieve(batch_id)).request_counts
    return counts.completed if counts else 0


async def until_some_are_done(house: House, batch_id: str) -> None:
    watch = house.system.services.jobs.watch(["ready:control", f"job:{job_id_of(batch_id)}"])
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await completed(house, batch_id):
                await watch.next(0.05)
    finally:
        watch.close()


async def test_a_second_worker_ends_what_a_drained_one_began_and_no_line_comes_twice(tmp_path: Path) -> None:
    async with running_house(tmp_path, MockOptions(latency_ms=20.0), is_working=False) as house:
        made = await house.batch(b"".join(request(f"r{number}") for number in range(1000)))
        async with house.system.worker():
            await until_some_are_done(house, made.id)
        assert 0 < await completed(house, made.id) < 1000
        async with house.system.worker():
            done = await house.ended(made.id)
        assert done.status == "completed"
        lines = await house.lines(done.output_file_id)
        assert len(lines) == len({line["custom_id"] for line in lines}) == 1000


async def test_a_batch_cancelled_in_mid_run_keeps_what_was_paid_for(tmp_path: Path) -> None:
    async with running_house(tmp_path, MockOptions(latency_ms=20.0)) as house:
        made = await house.batch(b"".join(request(f"r{number}") for number in range(2000)))
        await until_some_are_done(house, made.id)
        await house.openai.batches.cancel(made.id)
        ended = await house.ended(made.id)
        assert ended.status == "cancelled"
        counts = ended.request_counts
        assert counts is not None
        assert counts.total == counts.completed + counts.failed == 2000
        assert counts.completed > 0
        output, errors = await house.lines(ended.output_file_id), await house.lines(ended.error_file_id)
        assert (len(output), len(errors)) == (counts.completed, counts.failed)
        assert {line["error"]["code"] for line in errors} == {"batch_cancelled"}
        assert len({line["custom_id"] for line in [*output, *errors]}) == 2000

"""Reading a batch's output by line while it runs, and after."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.domain.batch import job_id_of
from tests.integration.batch_house import House, request, running_house
from tests.unit.batch.driver import Driver


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path, is_working=False) as running:
        yield running


async def read(house: House, path: str) -> tuple[list[bytes], str, str]:
    async with house.http.get(path) as reply:
        assert reply.status == 200, await reply.text()
        lines = (await reply.read()).splitlines()
        return lines, reply.headers["X-Incomplete"], reply.headers["X-Last-Line"]


async def test_lines_can_be_read_from_any_offset_while_the_batch_runs_and_stay_as_they_were(house: House) -> None:
    made = await house.batch(b"".join(request(f"r{number}") for number in range(400)))
    assert made.output_file_id is None
    driver = Driver(house.system.services)
    await driver.services.jobs.renew(driver.worker)
    await driver.step_batch()
    running = await house.openai.batches.retrieve(made.id)
    assert running.status == "in_progress"
    path = f"/v1/files/{running.output_file_id}/content"
    assert await read(house, f"{path}?offset=0") == ([], "true", "0")
    await driver.step_batch()
    seen: list[bytes] = []
    while not (await driver.job(job_id_of(made.id))).is_terminal:
        await driver.step_batch() or await driver.answer_lines(60)
        new, is_incomplete, last = await read(house, f"{path}?offset={len(seen)}")
        seen += new
        assert (int(last), is_incomplete) in {(len(seen), "true"), (400, "false")}
        counts = (await house.openai.batches.retrieve(made.id)).request_counts
        assert counts is not None
        assert counts.total == 400
        assert counts.completed >= len(seen)
    assert len(set(seen)) == 400
    assert await read(house, f"{path}?offset=0") == (seen, "false", "400")
    assert await read(house, f"{path}?offset=397") == (seen[397:], "false", "400")
    assert await read(house, f"{path}?offset=400") == ([], "false", "400")
    assert (await read(house, f"/v1/batches/{made.id}/results"))[0] == seen
    async with house.http.get(path, headers={"range": "bytes=100-90000"}) as reply:
        whole = b"".join(line + b"\n" for line in seen)
        assert (reply.status, await reply.read()) == (206, whole[100:90001])


async def test_counts_of_failed_lines_are_live(house: House) -> None:
    made = await house.batch(request("a") + request("b"))
    driver = Driver(house.system.services)
    await driver.services.jobs.renew(driver.worker)
    await driver.step_batch()
    await driver.step_batch()
    await driver.answer_lines(1)
    counts = (await house.openai.batches.retrieve(made.id)).request_counts
    assert counts is not None
    assert (counts.total, counts.completed, counts.failed) == (2, 1, 0)


async def test_an_offset_that_is_no_number_is_refused(house: House) -> None:
    file_id = await house.upload(b"x")
    for offset in ("-1", "x", "1"):  # of an upload, none is right
        async with house.http.get(f"/v1/files/{file_id}/content?offset={offset}") as reply:
            assert (reply.status, (await reply.json())["error"]["param"]) == (400, "offset")

"""Pipelines and runs over HTTP, by the client as users have it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import duckdb
import pytest

from forebay.api.server import serve
from forebay.client import AsyncClient
from forebay.domain.errors import Conflict, JobFailed, NotFound, RequestError
from tests.integration.pipelines.house import opened
from tests.integration.pipelines.test_runs import write_input

PIPELINES = """
  count:
    description: Counts what came in
    params: {least: 0, name: null}
    steps:
      load: {read: "in/*.csv"}
      some: {sql: "SELECT * FROM load WHERE id::INT >= $params.least"}
      late: {read: "{params.name}", retries: 0}
"""


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    write_input(tmp_path)
    (tmp_path / "more.csv").write_text("id\n1\n")
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(opened(tmp_path, PIPELINES))
        await stack.enter_async_context(house.system.worker())
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(house.system, port=0, ready=started.set_result))
        await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
        yield started.result() if started.done() else str(await serving)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url) as connected:
        yield connected


async def test_a_run_is_begun_followed_and_its_table_fetched(client: AsyncClient, tmp_path: Path) -> None:
    run = await client.runs.start("count", {"least": 1, "name": "more.csv"})
    assert run.id.startswith("run_")
    run = await client.runs.wait(run.id, timeout=60)
    assert {name: step.status for name, step in run.steps.items()} == dict.fromkeys(
        ("load", "some", "late"), "succeeded"
    )
    assert run.params == {"least": 1, "name": "more.csv"}
    size = await client.runs.download(run.id, "some", tmp_path / "some.parquet")
    assert size == (tmp_path / "some.parquet").stat().st_size
    assert [row[0] for row in duckdb.sql(f"SELECT id FROM '{tmp_path}/some.parquet'").fetchall()] == ["1", "2"]
    with pytest.raises(NotFound, match="has no rejected"):
        await client.runs.download(run.id, "some", tmp_path / "no.parquet", stream="rejected")
    assert [one.id for one in await client.runs.list(pipeline="count")] == [run.id]
    assert await client.runs.list(pipeline="other") == []


async def test_a_repeated_request_is_the_same_run(client: AsyncClient) -> None:
    first = await client.runs.start("count", {"name": "more.csv"}, idempotency_key="one")
    again = await client.runs.start("count", {"name": "more.csv"}, idempotency_key="one")
    assert again.id == first.id
    with pytest.raises(Conflict):
        await client.runs.start("count", {"name": "other.csv"}, idempotency_key="one")


async def test_a_failed_run_is_resumed(client: AsyncClient, tmp_path: Path) -> None:
    run = await client.runs.start("count", {"name": "late.csv"})
    with pytest.raises(JobFailed, match="late") as failed:
        await client.runs.wait(run.id, timeout=60)
    assert failed.value.job.steps["late"].error.code == "source_failed"
    (tmp_path / "late.csv").write_text("id\n7\n")
    await client.runs.resume(run.id)
    assert (await client.runs.wait(run.id, timeout=60)).steps["late"].records.succeeded == 1
    with pytest.raises(Conflict, match="succeeded"):
        await client.runs.resume(run.id)


async def test_what_can_not_be_run_is_refused(client: AsyncClient) -> None:
    with pytest.raises(NotFound, match="did you mean 'count'"):
        await client.runs.start("cuont")
    with pytest.raises(RequestError, match="needs the parameter 'name'"):
        await client.runs.start("count")
    with pytest.raises(RequestError, match="did you mean 'least'"):
        await client.runs.start("count", {"lest": 1, "name": "more.csv"})
    with pytest.raises(RequestError, match="no step 'sme'; did you mean 'some'"):
        await client.runs.start("count", {"name": "more.csv"}, from_step="sme")
    with pytest.raises(NotFound):
        await client.runs.start("count", {"name": "more.csv"}, since="run_nothing")
    for path in ("run_nothing", "job_nothing", "x"):
        with pytest.raises(NotFound):
            await client.runs.get(path)


async def test_pipelines_are_listed_with_a_picture(url: str) -> None:
    async with aiohttp.ClientSession(url) as http, http.get("/v1/pipelines") as reply:
        page = await reply.json()
    [pipeline] = page["data"]
    assert pipeline["name"] == "count"
    assert pipeline["description"] == "Counts what came in"
    assert [step["name"] for step in pipeline["steps"]] == ["load", "some", "late"]
    assert pipeline["graph"].startswith("flowchart TD\n")

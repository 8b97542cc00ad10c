"""What starts a run reaches its steps: an uploaded file, a file that appeared, an event, a schedule's date."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from forebay.api.server import serve
from forebay.engine.scheduler import Scheduler
from forebay.engine.triggers.watching import FileTriggers
from forebay.settings import load_settings
from tests.integration.pipelines.house import House, opened

PATIENCE_SECONDS = 120.0
PIPELINES = """
  inbox:
    on: {files: "inbox/*.csv"}
    steps:
      load: {read: "{run.trigger.detail.path}"}
      save: {write: "out/{run.trigger.detail.name}.jsonl", from: load}
  uploaded:
    params: {table: null}
    steps:
      load: {read: "{params.table}"}
      save: {write: "out/uploaded.jsonl", from: load}
  sold:
    on: {event: {source: [crm]}, params: {least: "{detail.eur}"}}
    params: {least: 0}
    steps:
      load: {read: "all.csv"}
      some: {sql: "SELECT * FROM load WHERE id::INT >= $params.least"}
      save: {write: "out/sold.jsonl", from: some}
  daily:
    on: {rate: 1s, timezone: Pacific/Kiritimati}
    steps:
      load: {read: "all.csv"}
      save: {write: "out/{run.date}.jsonl", from: load}
"""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "all.csv").write_text("id\n1\n2\n3\n")
    async with opened(tmp_path, PIPELINES) as opened_house:
        yield opened_house


@pytest.fixture
async def http(house: House) -> AsyncIterator[aiohttp.ClientSession]:
    async with AsyncExitStack() as stack:
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(house.system, port=0, ready=started.set_result))
        await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
        url = started.result() if started.done() else str(await serving)
        yield await stack.enter_async_context(aiohttp.ClientSession(url))
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def written(house: House, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (house.folder / "out" / name).read_text().splitlines()]


async def upload(http: aiohttp.ClientSession, **headers: str) -> str:
    form = aiohttp.FormData()
    form.add_field("purpose", "user_data")
    form.add_field("file", b"id,name\n7,Ada\n", filename="people.csv")
    async with http.post("/v1/files", data=form, headers=headers) as reply:
        assert reply.status == 200, await reply.text()
        return str((await reply.json())["id"])


async def start(http: aiohttp.ClientSession, table: str, status: int = 202, **headers: str) -> Any:
    async with http.post("/v1/pipelines/uploaded/runs", json={"params": {"table": table}}, headers=headers) as reply:
        assert reply.status == status, await reply.text()
        return await reply.json()


async def test_a_run_reads_the_file_that_was_uploaded_for_it(house: House, http: aiohttp.ClientSession) -> None:
    file_id = await upload(http)
    run = await start(http, file_id)
    assert run["trigger"]["type"] == "upload"
    async with http.delete(f"/v1/files/{file_id}") as reply:
        assert reply.status == 200
    await house.system.services.blobs.delete(
        await house.system.services.jobs.orphans([one async for one in house.system.services.blobs.older_than(9e12)])
    )
    await house.worker.run_until_idle()
    view = await house.view("job_" + run["id"].removeprefix("run_"))
    assert view["status"] == "succeeded", view
    assert written(house, "uploaded.jsonl") == [{"id": "7", "name": "Ada"}]
    [source] = view["steps"]["load"]["output"]["sources"]
    assert (source["path"], source["bytes"]) == ("people.csv", 14)


async def test_a_file_that_does_not_exist_begins_no_run(http: aiohttp.ClientSession) -> None:
    refused = await start(http, "file-" + "0" * 26, 400)
    assert (refused["error"]["code"], refused["error"]["param"]) == ("file_not_found", "params.table")


async def test_another_tenants_file_does_not_exist(http: aiohttp.ClientSession) -> None:
    ours = await key(http, "default", {})
    theirs = await key(http, "acme", ours)
    file_id = await upload(http, **theirs)
    await start(http, file_id, 400, **ours)
    await start(http, file_id, **theirs)


async def key(http: aiohttp.ClientSession, tenant: str, headers: dict[str, str]) -> dict[str, str]:
    asked = {"name": tenant, "tenant": tenant, "scopes": ["submit", "read", "admin"]}
    async with http.post("/v1/keys", json=asked, headers=headers) as reply:
        assert reply.status == 200, await reply.text()
        return {"x-api-key": (await reply.json())["key"]}


async def test_a_file_that_appears_is_read(house: House) -> None:
    (house.folder / "inbox" / "a.csv").write_text("id\n5\n")
    watching = FileTriggers(house.system.services)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await watching.step():
            await asyncio.sleep(0.05)
    await house.worker.run_until_idle()
    assert written(house, "a.csv.jsonl") == [{"id": "5"}]


async def test_an_event_gives_its_run_parameters(house: House, http: aiohttp.ClientSession) -> None:
    event = {"id": "1", "source": "crm", "detail-type": "deal.won", "detail": {"eur": 2}}
    async with http.post("/v1/events", json=event) as reply:
        [receipt] = (await reply.json())["data"]
    await house.worker.run_until_idle()
    view = await house.view(receipt["matched"][0]["job_id"])
    assert view["status"] == "succeeded", view
    assert view["trigger"]["detail"]["detail"] == {"eur": 2}
    assert written(house, "sold.jsonl") == [{"id": "2"}, {"id": "3"}]


async def test_a_scheduled_run_has_the_date_of_its_zone(house: House) -> None:
    scheduler = Scheduler(house.system.services)
    await scheduler.step()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await scheduler.step():
            await asyncio.sleep(0.05)
    await house.worker.run_until_idle()
    [name] = [path.stem for path in (house.folder / "out").iterdir()]
    [run] = await house.runs()
    view = await house.view(run.id)
    zone = ZoneInfo("Pacific/Kiritimati")  # fourteen hours ahead
    assert name == datetime.fromtimestamp(view["trigger"]["fire_time"], zone).strftime("%Y-%m-%d")


def test_the_example_of_the_documentation_is_a_configuration(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/schedules.md").read_text()
    config = tmp_path / "forebay.yaml"
    config.write_text(page.partition("```yaml\n")[2].partition("```")[0])
    [reviews] = load_settings(config, {}).pipelines.values()
    assert [one.name for one in reviews.triggers] == ["weekly-reviews", "often", "christmas", "inbox", "sold"]

"""An event goes to an agent and to a tool, on the official SDKs' servers, and comes back as one aggregate."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from forebay.api.server import serve
from forebay.app import open_system
from forebay.cli.main import execute
from forebay.settings import Settings, load_settings
from forebay.testing.ports import free_port

from .a2a_agent import PICTURE
from .agent_process import ROOT, Agent, running_agent
from .mcp_tools import JOURNAL

CONFIGURATION = """
targets:
  researcher: {{type: a2a, url: "{agent}"}}
  tools: {{type: mcp, command: "{python}", args: [-m, tests.integration.mcp_tools],
           env: {{PYTHONPATH: "{root}", {journal}: "{folder}/journal"}}}}
rules:
  - name: incident
    pattern: {{source: [pump]}}
    send:
      cause: {{target: researcher, body: {{text: "{{detail.words}}"}}}}
      chart: {{target: tools, body: {{tool: picture, arguments: {{}}}}}}
      place: {{target: tools, body: {{tool: weather, arguments: {{city: "{{detail.city}}"}}}}}}
      wrong: {{target: tools, max_attempts: 1, body: {{tool: fail, arguments: {{reason: "{{detail.city}}"}}}}}}
"""


def configured(folder: Path, agent: str) -> Settings:
    text = CONFIGURATION.format(agent=agent, python=sys.executable, root=ROOT, folder=folder, journal=JOURNAL)
    (folder / "forebay.yaml").write_text(text)
    return load_settings(folder / "forebay.yaml", {})


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running_agent("tests.integration.a2a_agent", free_port()) as running:
        yield running


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    async with open_system(settings) as system, system.worker():
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(system, port=0, ready=started.set_result))
        try:
            async with aiohttp.ClientSession(await started) as http:
                yield http
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def get(http: aiohttp.ClientSession, path: str) -> Any:
    async with http.get(path) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


async def test_an_event_goes_to_an_agent_and_tools_and_their_answers_are_one(tmp_path: Path, agent: Agent) -> None:
    settings = configured(tmp_path, agent.url)
    async with served(settings) as http:
        event = {"source": "pump", "detail-type": "noise", "detail": {"words": "now, a report", "city": "Rome"}}
        async with http.post("/v1/events", json=event) as reply:
            [receipt] = (await reply.json())["data"]
        [matched] = receipt["matched"]
        while (job := await get(http, f"/v1/jobs/{matched['job_id']}?wait=30"))["finished_at"] is None:
            pass
        assert job["status"] == "succeeded"
        body = job["result"]["body"]
        assert {name: entry["status"] for name, entry in body.items()} == {
            "cause": "succeeded",
            "chart": "succeeded",
            "place": "succeeded",
            "wrong": "failed",
        }
        assert body["cause"]["body"]["status"]["state"] == "TASK_STATE_COMPLETED"
        assert body["place"]["body"]["structuredContent"] == {"city": "Rome", "degrees": 21.5}
        for file in (
            body["cause"]["body"]["artifacts"][0]["parts"][1]["file"],
            body["chart"]["body"]["content"][1]["file"],
        ):
            async with http.get(f"/v1/files/{file['file_id']}/content") as reply:
                assert (reply.status, await reply.read()) == (200, PICTURE)


async def test_a_file_that_was_uploaded_goes_to_an_agent_with_its_bytes(tmp_path: Path, agent: Agent) -> None:
    async with served(configured(tmp_path, agent.url)) as http:
        form = aiohttp.FormData({"purpose": "user_data"})
        form.add_field("file", PICTURE, filename="pump.png", content_type="image/png")
        async with http.post("/v1/files", data=form) as reply:
            file_id = (await reply.json())["id"]
        message = {"parts": [{"text": "now with a picture"}, {"file_id": file_id}]}
        async with http.post("/v1/jobs", json={"target": "researcher", "body": {"message": message}}) as reply:
            job_id = (await reply.json())["id"]
        while (job := await get(http, f"/v1/jobs/{job_id}?wait=30"))["finished_at"] is None:
            pass
        assert job["status"] == "succeeded"
        async with http.post(
            "/v1/jobs", json={"target": "researcher", "body": {"message": {"parts": [{"file_id": "file-none"}]}}}
        ) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (400, "file_not_found")
    [seen] = (await agent.seen("now with a picture"))["messages"]
    raw = base64.b64encode(PICTURE).decode()
    assert seen["parts"][1] == {"raw": raw, "mediaType": "image/png", "filename": "pump.png"}


def test_targets_check_tells_who_the_agent_is_and_lists_the_tools(
    tmp_path: Path, agent: Agent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    configured(tmp_path, agent.url)
    assert execute(["targets", "check", "researcher", "tools", "--json"]) == 0
    one, other = json.loads(capsys.readouterr().out)["data"]
    assert (one["ok"], one["message"]) == (True, "researcher: Obedient (obeying), pushes")
    assert other["message"].startswith("tools: Toolbox, 9 tools (add, weather,")

"""Another Forebay as a target: work goes on to a hub, is one job there, and comes back as if it had been done here."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from openai import AsyncOpenAI

from forebay.api.server import serve
from forebay.app import System, open_system
from forebay.domain.errors import ConfigurationError, RemoteFailed, TargetRejected, TargetUnavailable
from forebay.domain.inference import Call
from forebay.domain.query import JobQuery
from forebay.domain.target import TargetSpec, TargetType
from forebay.settings import Settings, StoreSettings
from forebay.targets.build import build_target
from forebay.targets.clients import open_http
from forebay.testing.mock_model import MockModel, MockOptions

SOUND = bytes(range(256)) * 400
ENDED = {"succeeded", "failed", "cancelled"}


@dataclass
class Pair:
    """An edge before a hub, which has the model."""

    edge: str
    hub: System
    mock: MockModel
    http: aiohttp.ClientSession

    async def submit(self, **fields: Any) -> str:
        async with self.http.post(f"{self.edge}/v1/jobs", json={"target": "hub", **fields}) as reply:
            document = await reply.json()
            assert reply.status == 202, document
            return str(document["id"])

    async def ended(self, job_id: str) -> dict[str, Any]:
        async with asyncio.timeout(120):
            while True:
                async with self.http.get(f"{self.edge}/v1/jobs/{job_id}?wait=30") as reply:
                    job: dict[str, Any] = await reply.json()
                if job["status"] in ENDED:
                    return job

    async def at_hub(self) -> list[Any]:
        return list(await self.hub.services.jobs.find(JobQuery(tenant="default")))


def settings(folder: Path, *specs: TargetSpec) -> Settings:
    place = StoreSettings(url="sqlite", path=folder / "forebay.db")
    return Settings(store=place, blobs=folder / "blobs", targets=specs)


@asynccontextmanager
async def serving(system: System) -> AsyncIterator[str]:
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(system, port=0, ready=started.set_result))
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield await started
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def running_pair(folder: Path, options: MockOptions | None = None) -> AsyncIterator[Pair]:
    async with MockModel(options) as mock:
        model = TargetSpec(name="gpt", type=TargetType.OPENAI, base_url=mock.base_url, models=("mock",))
        (folder / "hub").mkdir()
        (folder / "edge").mkdir()
        async with open_system(settings(folder / "hub", model)) as hub, hub.worker(), serving(hub) as hub_url:
            spec = TargetSpec(name="hub", type=TargetType.FOREBAY, base_url=f"{hub_url}/v1", models=("mock", "nobody"))
            async with (
                open_system(settings(folder / "edge", spec)) as edge,
                edge.worker(),
                serving(edge) as edge_url,
                aiohttp.ClientSession() as http,
            ):
                yield Pair(edge=edge_url, hub=hub, mock=mock, http=http)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with running_pair(tmp_path) as made:
        yield made


@pytest.fixture
async def client(pair: Pair) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{pair.edge}/v1", api_key="any", max_retries=0) as made:
        yield made


async def test_a_job_is_one_job_at_the_hub_and_comes_back_with_its_usage_and_deadline(pair: Pair) -> None:
    body = {"model": "mock", "messages": [{"role": "user", "content": "hello"}]}
    job = await pair.ended(await pair.submit(body=body, metadata={"case": "7"}, deadline="2h"))
    assert job["status"] == "succeeded", job["error"]
    assert job["result"]["body"]["choices"][0]["message"]["content"] == "echo: hello"
    [there] = await pair.at_hub()
    assert there.usage is not None
    assert job["usage"]["input_tokens"] == there.usage.input_tokens > 0
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["succeeded"]
    assert (there.spec.metadata, there.deadline) == ({"case": "7"}, job["deadline"])


async def test_what_the_hub_gave_up_is_given_up_with_its_code_and_the_models_own_words(pair: Pair) -> None:
    body = {"model": "mock", "messages": [{"role": "user", "content": "[[fault:422]]"}]}
    job = await pair.ended(await pair.submit(body=body))
    assert (job["status"], job["error"]["code"]) == ("failed", "target_rejected")
    assert job["result"]["status_code"] == 422
    assert "error" in job["result"]["body"]
    refused = await pair.ended(await pair.submit(body={**body, "model": "nobody"}, model="nobody"))
    assert (refused["status"], refused["result"]["status_code"]) == ("failed", 404)
    assert refused["result"]["body"]["error"]["code"] == "model_not_found"
    assert len(await pair.at_hub()) == 1


async def test_speech_comes_back_as_a_file_of_ours(pair: Pair, client: AsyncOpenAI) -> None:
    spoken = await client.audio.speech.create(model="mock", voice="alloy", input="hello")
    assert spoken.read()[:4] == b"RIFF"
    [file] = [one async for one in client.files.list()]
    assert (await client.files.content(file.id)).content[:4] == b"RIFF"


async def test_a_recording_goes_on_to_the_hub(pair: Pair, client: AsyncOpenAI) -> None:
    text = await client.audio.transcriptions.create(model="mock", file=("talk.wav", SOUND, "audio/wav"))
    assert text.text.startswith(f"heard talk.wav: {len(SOUND)} bytes")


@pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")
async def test_a_video_is_made_by_way_of_the_hub(pair: Pair, client: AsyncOpenAI) -> None:
    video = await client.videos.create_and_poll(model="mock", prompt="a heron", poll_interval_ms=20)
    assert (video.status, video.size) == ("completed", "720x1280")
    assert (await client.videos.download_content(video.id)).read()[4:12] == b"ftypmp42"
    assert pair.mock.calls["by_endpoint"]["/videos"] == 1


async def test_a_cancelled_job_is_cancelled_at_the_hub(tmp_path: Path) -> None:
    async with running_pair(tmp_path, MockOptions(hold_after=0)) as pair:
        job_id = await pair.submit(body={"model": "mock", "messages": []})
        async with asyncio.timeout(120):
            while not pair.mock.calls["in_flight"]:
                await asyncio.sleep(0.01)
            while not (await _view(pair, job_id))["attempts"]:
                await asyncio.sleep(0.01)
        async with pair.http.post(f"{pair.edge}/v1/jobs/{job_id}/cancel") as reply:
            assert reply.status == 200
        assert (await pair.ended(job_id))["status"] == "cancelled"
        async with asyncio.timeout(120):
            while [job.status for job in await pair.at_hub()] != ["cancelled"]:
                await asyncio.sleep(0.05)
            while (await _view(pair, job_id))["attempts"][0]["outcome"] != "cancelled":
                await asyncio.sleep(0.05)


async def _view(pair: Pair, job_id: str) -> dict[str, Any]:
    async with pair.http.get(f"{pair.edge}/v1/jobs/{job_id}") as reply:
        view: dict[str, Any] = await reply.json()
        return view


async def test_a_stream_is_refused_for_it_cannot_be_stored(pair: Pair) -> None:
    body = {"model": "mock", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with pair.http.post(f"{pair.edge}/v1/chat/completions", json=body) as reply:
        text = await reply.text()
    assert "not streamed" in text
    assert await pair.at_hub() == []


def a_call(**fields: Any) -> Call:
    whole = {
        "job_id": "job_1",
        "attempt": 1,
        "endpoint": "/v1/chat/completions",
        "body": json.dumps({"model": "mock", "messages": []}).encode(),
        "timeout_seconds": 30.0,
        "model": "mock",
        "idempotency_key": "job_1.5",
        **fields,
    }
    return Call(**whole)


async def test_a_submission_that_is_sent_again_is_the_same_job(pair: Pair) -> None:
    http = open_http()
    url = pair.edge
    target = build_target(TargetSpec(name="hub", type=TargetType.FOREBAY, base_url=url), http)
    first, again = [(await target.call(a_call())).pending for _ in range(2)]
    other = (await target.call(a_call(idempotency_key="job_1.6"))).pending
    assert first is not None
    assert first == again != other
    with pytest.raises(TargetRejected, match="circle"):
        await target.call(a_call(hops=8))
    with pytest.raises(RemoteFailed):
        await target.call(a_call(pending=msgspec.json.encode({"id": "job_0", "pause_seconds": 1}).decode()))
    assert "reachable" in await target.check()
    await http.close()


async def test_a_hub_that_breaks_off_is_a_hub_that_is_away(pair: Pair) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(broken, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    http = open_http()
    target = build_target(TargetSpec(name="hub", type=TargetType.FOREBAY, base_url=f"http://127.0.0.1:{port}"), http)
    with pytest.raises(TargetUnavailable):
        await target.call(a_call())
    server.close()
    await http.close()


def test_a_hub_needs_an_address() -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        build_target(TargetSpec(name="hub", type=TargetType.FOREBAY), open_http())

"""The whole way: an official client, the server, the store, a real worker, and a mock model behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from forebay.api.server import serve
from forebay.app import System, open_system
from forebay.domain.target import TargetSpec, TargetType
from forebay.settings import Settings, StoreSettings
from forebay.testing.mock_model import Fault, MockModel, MockOptions

ASK = [{"role": "user", "content": "hello"}]


@dataclass
class House:
    """A running installation."""

    url: str
    system: System
    mock: MockModel
    http: aiohttp.ClientSession


@asynccontextmanager
async def running_house(folder: Path, options: MockOptions | None = None) -> AsyncIterator[House]:
    async with MockModel(options) as mock:
        base = mock.base_url
        specs = (
            TargetSpec(name="gpt", type=TargetType.OPENAI, base_url=base, models=("mock",)),
            TargetSpec(name="claude", type=TargetType.ANTHROPIC, base_url=base, models=("claude-mock",)),
        )
        place = StoreSettings(url="sqlite", path=folder / "forebay.db")
        settings = Settings(store=place, blobs=folder / "blobs", targets=specs)
        async with open_system(settings) as system, system.worker():
            started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            serving = asyncio.create_task(serve(system, port=0, ready=started.set_result))
            await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
            url = await started
            try:
                async with aiohttp.ClientSession(url) as http:
                    yield House(url=url, system=system, mock=mock, http=http)
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as running:
        yield running


async def test_both_vendors_clients_are_answered_and_streamed_to(house: House) -> None:
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any") as gpt:
        completion = await gpt.chat.completions.create(model="mock", messages=ASK)
        events = await gpt.chat.completions.create(model="mock", messages=ASK, stream=True)
        streamed = [event.choices[0].delta.content or "" async for event in events if event.choices]
        made = await gpt.embeddings.create(model="mock", input=["a", "b"])
    assert "".join(streamed) == completion.choices[0].message.content
    assert len(made.data) == 2
    async with AsyncAnthropic(base_url=house.url, api_key="any") as claude:
        message = await claude.messages.create(model="claude-mock", max_tokens=50, messages=ASK)
        async with claude.messages.stream(model="claude-mock", max_tokens=50, messages=ASK) as stream:
            text = "".join([part async for part in stream.text_stream])
    assert text == message.content[0].text


async def test_speech_comes_as_bytes(house: House) -> None:
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0) as gpt:
        spoken = await gpt.audio.speech.create(model="mock", voice="alloy", input="hello")
        assert len(spoken.content) > 0
        assert spoken.response.headers["content-type"].startswith("audio/")


async def test_a_submitted_job_is_done_with_usage_and_attempts(house: House) -> None:
    async with house.http.post("/v1/jobs", json={"body": {"model": "mock", "messages": ASK}}) as reply:
        job = await reply.json()
    async with house.http.get(f"/v1/jobs/{job['id']}?wait=30") as reply:
        done = await reply.json()
    assert (done["status"], done["result"]["status_code"]) == ("succeeded", 200)
    assert done["usage"]["total_tokens"] > 0
    assert [attempt["outcome"] for attempt in done["attempts"]] == ["succeeded"]
    async with house.http.get("/metrics") as reply:
        lines = (await reply.text()).splitlines()
    assert 'forebay_jobs_total{kind="infer",status="succeeded",target="gpt"} 1.0' in lines
    assert 'forebay_attempts_total{outcome="succeeded",target="gpt"} 1.0' in lines
    assert 'forebay_in_flight{target="gpt"} 0.0' in lines


async def test_the_models_refusal_reaches_openais_client(house: House) -> None:
    ask = [{"role": "user", "content": "[[fault:422]]"}]
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any") as gpt:
        with pytest.raises(openai.UnprocessableEntityError):
            await gpt.chat.completions.create(model="mock", messages=ask)


async def test_faults_are_retried_before_the_client_hears_of_them(tmp_path: Path) -> None:
    options = MockOptions(fault_rate=0.3, faults=(Fault.RESET, Fault.TRUNCATE), seed=3)
    async with (
        running_house(tmp_path, options) as house,
        AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0) as gpt,
    ):
        calls = [gpt.chat.completions.create(model="mock", messages=ASK) for _ in range(10)]
        answers = await asyncio.gather(*calls)
    assert len({answer.choices[0].message.content for answer in answers}) == 1


async def test_a_thousand_lines_of_bulk_are_all_done(house: House) -> None:
    line = json.dumps({"body": {"model": "mock", "messages": ASK}, "metadata": {"run": "bulk"}})
    async with house.http.post("/v1/jobs/bulk", data="\n".join([line] * 1000)) as reply:
        replies = [json.loads(text) for text in (await reply.text()).splitlines()]
    assert len({one["id"] for one in replies}) == 1000
    done = await asyncio.gather(*(finished(house, one["id"]) for one in replies[::50]))
    assert {job["status"] for job in done} == {"succeeded"}


async def finished(house: House, job_id: str) -> dict[str, Any]:
    async with house.http.get(f"/v1/jobs/{job_id}?wait=60") as reply:
        return dict(await reply.json())

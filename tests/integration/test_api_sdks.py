"""The official clients, unmodified but for their base URL."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from forebay.domain.change import Claimed
from forebay.domain.job import ErrorCode
from forebay.domain.query import JobQuery
from tests.integration.api_server import ANSWER, MESSAGE, MESSAGE_START, MESSAGE_USAGE, Hand, Server, running_server

ASK = [{"role": "user", "content": "hello"}]
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-model"}


def chunk(text: str, reason: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return f"data: {json.dumps({**CHUNK, 'choices': [choice]})}\n\n"


def event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


CHUNKS = [chunk("h"), chunk("i", "stop"), "data: [DONE]\n\n"]
MESSAGE_EVENTS = [
    event("message_start", message={**MESSAGE_START, "content": [], "stop_reason": None, "usage": MESSAGE_USAGE}),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"}),
    event("content_block_stop", index=0),
    event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 2}),
    event("message_stop"),
]
EMBEDDING = json.dumps(
    {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
async def gpt(server: Server) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        yield client


@pytest.fixture
async def claude(server: Server) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=server.url, api_key="any") as client:
        yield client


async def answer(hand: Hand, body: str) -> Claimed:
    claimed = await hand.take()
    await hand.succeed(claimed, body)
    return claimed


async def stream(hand: Hand, events: list[str]) -> None:
    claimed = await hand.take()
    await hand.say(claimed, *events)
    await hand.succeed(claimed)


async def test_openais_client_chats(server: Server, gpt: AsyncOpenAI) -> None:
    answering = asyncio.create_task(answer(server.hand, ANSWER))
    raw = await gpt.chat.completions.with_raw_response.create(model="gpt-model", messages=ASK)
    completion = raw.parse()
    assert completion.choices[0].message.content == "hi"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 5
    claimed = await answering
    assert raw.headers["x-forebay-job-id"] == claimed.job.id
    assert completion._request_id == raw.headers["x-request-id"]


async def test_openais_client_streams(server: Server, gpt: AsyncOpenAI) -> None:
    streaming = asyncio.create_task(stream(server.hand, CHUNKS))
    events = await gpt.chat.completions.create(model="gpt-model", messages=ASK, stream=True)
    assert "".join([event.choices[0].delta.content or "" async for event in events]) == "hi"
    await streaming


async def test_openais_client_raises_when_a_stream_is_cut(server: Server, gpt: AsyncOpenAI) -> None:
    async def cut() -> None:
        claimed = await server.hand.take()
        await server.hand.say(claimed, CHUNKS[0])
        await server.hand.fail(claimed, code=ErrorCode.STREAM_INTERRUPTED)

    cutting = asyncio.create_task(cut())
    events = await gpt.chat.completions.create(model="gpt-model", messages=ASK, stream=True)
    with pytest.raises(openai.APIError, match="did not work"):
        async for _ in events:
            pass
    await cutting


async def test_openais_client_does_not_repeat_a_final_failure(server: Server, gpt: AsyncOpenAI) -> None:
    async def fail() -> None:
        await server.hand.fail(await server.hand.take(), code=ErrorCode.TARGET_UNAVAILABLE)

    failing = asyncio.create_task(fail())
    with pytest.raises(openai.InternalServerError) as refused:
        await gpt.chat.completions.create(model="gpt-model", messages=ASK)
    await failing
    assert refused.value.status_code == 503
    assert refused.value.code == "target_unavailable"
    assert len(await server.services.jobs.find(JobQuery(tenant="default"))) == 1


async def test_openais_client_joins_its_own_request_after_a_time_out(server: Server) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", timeout=0.5, max_retries=30) as impatient:
        calling = asyncio.create_task(impatient.chat.completions.create(model="gpt-model", messages=ASK))
        claimed = await server.hand.take()
        await asyncio.wait({calling}, timeout=1.0)  # the first try times out meanwhile; the second joins
        await server.hand.succeed(claimed)
        completion = await calling
    assert completion.choices[0].message.content == "hi"
    assert len(await server.services.jobs.find(JobQuery(tenant="default"))) == 1


async def test_openais_client_gets_its_own_exceptions(gpt: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await gpt.chat.completions.create(model="nobody", messages=ASK)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        await gpt.responses.retrieve("resp_1")


async def test_openais_client_embeds_and_lists_models(server: Server, gpt: AsyncOpenAI) -> None:
    answering = asyncio.create_task(answer(server.hand, EMBEDDING))
    made = await gpt.embeddings.create(model="gpt-model", input="x", encoding_format="float")
    assert made.data[0].embedding == [0.5, 1.0]
    assert (await answering).job.spec.endpoint == "/v1/embeddings"
    assert "gpt-model" in [model.id async for model in gpt.models.list()]
    assert (await gpt.models.retrieve("summariser")).owned_by == "forebay"


async def test_anthropics_client_talks_streams_and_lists(server: Server, claude: AsyncAnthropic) -> None:
    answering = asyncio.create_task(answer(server.hand, MESSAGE))
    message = await claude.messages.create(model="claude-3", max_tokens=10, messages=ASK)
    assert message.content[0].text == "hi"
    await answering
    streaming = asyncio.create_task(stream(server.hand, MESSAGE_EVENTS))
    async with claude.messages.stream(model="claude-3", max_tokens=10, messages=ASK) as events:
        assert "".join([text async for text in events.text_stream]) == "hi"
    await streaming
    assert "claude-3" in [model.id async for model in claude.models.list()]


async def test_anthropics_client_gets_its_own_exceptions(server: Server, claude: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await claude.messages.create(model="nobody", max_tokens=10, messages=ASK)
    assert unknown.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]

    async def cut() -> None:
        claimed = await server.hand.take()
        await server.hand.say(claimed, MESSAGE_EVENTS[0])
        await server.hand.fail(claimed, code=ErrorCode.STREAM_INTERRUPTED)

    async def read() -> None:
        async with claude.messages.stream(model="claude-3", max_tokens=10, messages=ASK) as events:
            async for _ in events.text_stream:
                pass

    cutting = asyncio.create_task(cut())
    with pytest.raises(anthropic.APIError, match="did not work"):
        await read()
    await cutting

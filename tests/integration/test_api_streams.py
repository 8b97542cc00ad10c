"""``stream: true``: the vendor's own events."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from forebay.api import streams
from forebay.domain.job import ErrorCode
from tests.integration.api_server import ANSWER, CHAT, Server, running_server

STREAM = {**CHAT, "stream": True}
EVENTS = ['data: {"n":1}\n\n', 'data: {"n":2}\r\n\r\n', "data: [DONE]\n\n"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def post(server: Server, path: str = "/v1/chat/completions") -> aiohttp.ClientResponse:
    return await server.http.post(path, json=STREAM)


async def test_events_come_verbatim_and_as_they_are_said(server: Server) -> None:
    calling = asyncio.create_task(post(server))
    claimed = await server.hand.take()
    assert claimed.job.spec.stream
    await server.hand.say(claimed, EVENTS[0])
    async with await calling as reply:
        assert (reply.status, reply.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        assert reply.headers["x-forebay-job-id"] == claimed.job.id
        assert await reply.content.readuntil(b"\n\n") == EVENTS[0].encode()
        await server.hand.say(claimed, *EVENTS[1:])
        await server.hand.succeed(claimed)
        assert await reply.content.read() == "".join(EVENTS[1:]).encode()


async def test_a_call_that_fails_before_its_first_event_has_its_status(server: Server) -> None:
    calling = asyncio.create_task(post(server))
    await server.hand.fail(await server.hand.take(), body='{"error":{"message":"no"}}', status_code=400)
    async with await calling as reply:
        assert (reply.status, await reply.json()) == (400, {"error": {"message": "no"}})
        assert reply.headers["x-should-retry"] == "false"


async def test_a_call_that_is_cut_ends_in_an_error_event(server: Server) -> None:
    calling = asyncio.create_task(post(server))
    claimed = await server.hand.take()
    await server.hand.say(claimed, EVENTS[0])
    await server.hand.fail(claimed, code=ErrorCode.STREAM_INTERRUPTED)
    async with await calling as reply:
        text = await reply.text()
    assert text.startswith(EVENTS[0])
    last = text.removeprefix(EVENTS[0])
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stream_interrupted"


async def test_an_upstream_that_does_not_stream_is_answered_as_it_did(server: Server) -> None:
    calling = asyncio.create_task(post(server))
    await server.hand.succeed(await server.hand.take())
    async with await calling as reply:
        assert (reply.headers["content-type"], await reply.text()) == ("application/json", ANSWER)


async def test_comments_keep_a_queued_call_alive(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.05)
    async with await post(server) as reply:
        assert await reply.content.readuntil(b"\n\n") == b": keep-alive\n\n"
        claimed = await server.hand.take()
        await server.hand.say(claimed, EVENTS[0])
        await server.hand.succeed(claimed)
        rest = (await reply.read()).replace(b": keep-alive\n\n", b"")
    assert rest == EVENTS[0].encode()


async def test_a_failure_after_a_comment_is_an_error_event(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.05)
    async with await post(server) as reply:
        await reply.content.readuntil(b"\n\n")
        await server.hand.fail(await server.hand.take(), body='{"error":{"message":"no","code":"x"}}')
        text = (await reply.text()).replace(": keep-alive\n\n", "")
    assert text == 'data: {"error":{"message":"no","code":"x"}}\n\n'


async def test_a_stopping_server_ends_its_streams(server: Server) -> None:
    calling = asyncio.create_task(post(server))
    claimed = await server.hand.take()
    await server.hand.say(claimed, EVENTS[0])
    async with await calling as reply:
        await reply.content.readuntil(b"\n\n")
        server.serving.cancel()
        async with asyncio.timeout(120):
            assert b"server_stopping" in await reply.read()


async def test_a_repeat_of_a_stream_reads_it_from_its_beginning(server: Server) -> None:
    headers = {"idempotency-key": "k"}
    calling = asyncio.create_task(server.http.post("/v1/chat/completions", json=STREAM, headers=headers))
    claimed = await server.hand.take()
    await server.hand.say(claimed, *EVENTS)
    await server.hand.succeed(claimed)
    async with await calling as reply:
        first = await reply.text()
    async with server.http.post("/v1/chat/completions", json=STREAM, headers=headers) as reply:
        assert reply.headers["idempotent-replayed"] == "true"
        assert await reply.text() == first == "".join(EVENTS)


async def test_the_job_goes_on_when_its_reader_goes_away(server: Server) -> None:
    calling = asyncio.create_task(post(server))
    claimed = await server.hand.take()
    await server.hand.say(claimed, EVENTS[0])
    (await calling).close()
    await server.hand.say(claimed, *EVENTS[1:])
    await server.hand.succeed(claimed)
    assert (await server.get(f"/v1/jobs/{claimed.job.id}"))["status"] == "succeeded"

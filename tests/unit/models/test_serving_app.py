"""The small models' server with an adapter of the test's own: turns, callers that go away, keys, errors."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import uvicorn
from starlette.requests import Request

from forebay.models.records import Kind
from forebay.models.serving.adapter import Answer, IsWanted, Refused, Work, while_wanted
from forebay.models.serving.app import build_app
from forebay.models.settings import ServerSettings

LIMIT_SECONDS = 120.0
SETTINGS = ServerSettings(
    path="", name="tiny", kind=Kind.OCR, port=1, api_key="mine", context_tokens=0, slots=2, threads=1
)


class Endless:
    """Answers at once, or computes piece by piece until nobody wants it."""

    endpoint = "/v1/work"

    def __init__(self) -> None:
        self.began = threading.Event()
        self.broken_off = threading.Event()
        self.at_once = 0
        self.most_at_once = 0

    async def read(self, request: Request) -> Work:
        match (await request.body()).decode():
            case "endless":
                return self.endless
            case "wrong":
                raise Refused("it is wrong", param="it", code="no_good")
            case _:
                return lambda _is_wanted: Answer(b"{}")

    def endless(self, is_wanted: IsWanted) -> Answer:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.set()
        try:
            for _ in while_wanted(iter(int, 1), is_wanted):
                pass
        finally:
            self.at_once -= 1
            self.broken_off.set()
        return Answer(b"never")


@asynccontextmanager
async def serving(adapter: Endless) -> AsyncIterator[aiohttp.ClientSession]:
    with socket.create_server(("127.0.0.1", 0)) as place:
        config = uvicorn.Config(build_app(adapter, SETTINGS), log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[place]))
        url = f"http://127.0.0.1:{place.getsockname()[1]}"
        try:
            async with aiohttp.ClientSession(url, headers={"authorization": "Bearer mine"}) as session:
                yield session
        finally:
            server.should_exit = True
            await task


async def set_within(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, LIMIT_SECONDS)


async def test_work_whose_caller_went_away_is_broken_off_and_the_next_one_has_its_turn() -> None:
    adapter = Endless()
    async with serving(adapter) as session:
        first = asyncio.create_task(session.post("/v1/work", data=b"endless"))
        await set_within(adapter.began)
        waiting = asyncio.create_task(session.post("/v1/work", data=b"quick"))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await set_within(adapter.broken_off)
        async with asyncio.timeout(LIMIT_SECONDS):
            assert (await waiting).status == 200
        assert adapter.most_at_once == 1


async def test_health_needs_no_key_and_all_else_does() -> None:
    async with serving(Endless()) as session:
        for headers, path, status in (
            ({"authorization": ""}, "/health", 200),
            ({"authorization": ""}, "/v1/models", 401),
            ({"authorization": "Bearer mine2"}, "/v1/models", 401),
            ({"authorization": "Bearer mine"}, "/v1/models", 200),
        ):
            async with session.get(path, headers=headers) as reply:
                assert reply.status == status
                await reply.json()


async def test_what_is_refused_or_unknown_is_told_as_the_vendor_does() -> None:
    async with serving(Endless()) as session:
        async with session.post("/v1/work", data=b"wrong") as reply:
            assert (reply.status, (await reply.json())["error"]) == (
                400,
                {"message": "it is wrong", "type": "invalid_request_error", "param": "it", "code": "no_good"},
            )
        async with session.post("/v1/other", data=b"") as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (404, "not_found")

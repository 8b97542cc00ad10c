"""Cancelling a call of any HTTP client, in whatever it is doing, closes its connection and nothing else."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from forebay.targets.http import HttpClient

from .http_clients import HEADERS, http, post
from .raw_servers import EMPTY_OBJECT, JSON_HEAD, end_of, raw_server, request_of

__all__ = ["http"]

LONG = 60.0


async def cancelled(call: Awaitable[object], when: Callable[[], Awaitable[object]]) -> None:
    task = asyncio.ensure_future(call)
    await when()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "sent", [b"", JSON_HEAD + b"content-length: 9\r\n\r\n{", JSON_HEAD + b"connection: close\r\n\r\n{"]
)
async def test_a_call_that_is_cancelled_before_its_answer_is_whole_closes_its_connection(
    http: HttpClient, sent: bytes
) -> None:
    waiting, closed = asyncio.Event(), asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(sent)
        await writer.drain()
        waiting.set()
        await end_of(reader)
        closed.set()

    async with raw_server(stall) as port:
        await cancelled(post(http, port, seconds=LONG), waiting.wait)
        async with asyncio.timeout(120):
            await closed.wait()


async def test_a_call_that_is_cancelled_while_it_sends_closes_its_connection(http: HttpClient) -> None:
    begun, go, closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def read_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1000)
        begun.set()
        await go.wait()
        await end_of(reader)
        closed.set()

    async with raw_server(read_slowly) as port:
        await cancelled(post(http, port, b"x" * 30_000_000, LONG), begun.wait)
        go.set()
        async with asyncio.timeout(120):
            await closed.wait()


async def test_a_call_that_is_cancelled_while_it_connects_ends_at_once(http: HttpClient) -> None:
    with socket.socket() as full:  # a queue of connections that nobody takes, filled up
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        async with asyncio.timeout(120):
            await cancelled(post(http, full.getsockname()[1], seconds=LONG), lambda: asyncio.sleep(0))
        for filler in fillers:
            filler.close()


async def test_a_stream_that_is_cancelled_closes_its_connection(http: HttpClient) -> None:
    first, closed = asyncio.Event(), asyncio.Event()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n")
        await writer.drain()
        await end_of(reader)
        closed.set()

    async def read(port: int) -> None:
        async with http.stream(f"http://127.0.0.1:{port}/", HEADERS, b"{}", LONG) as answer:
            async for _ in answer.chunks:
                first.set()

    async with raw_server(stream) as port:
        await cancelled(read(port), first.wait)
        async with asyncio.timeout(120):
            await closed.wait()


async def test_other_calls_go_on_when_one_is_cancelled(http: HttpClient) -> None:
    arrived, go = asyncio.Semaphore(0), asyncio.Event()

    async def answer_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        arrived.release()
        await go.wait()
        writer.write(EMPTY_OBJECT)
        await writer.drain()

    async with raw_server(answer_later) as port:
        kept = [asyncio.create_task(post(http, port, seconds=LONG)) for _ in range(10)]
        for _ in kept:
            await arrived.acquire()
        await cancelled(post(http, port, seconds=LONG), arrived.acquire)
        go.set()
        assert [response.status for response in await asyncio.gather(*kept)] == [200] * 10

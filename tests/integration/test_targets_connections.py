"""Kept connections of every HTTP client: reused, given up in time, and never a request delivered twice."""

import asyncio
from collections import Counter

import pytest

from forebay.domain.errors import TargetFailed, TargetUnavailable
from forebay.targets.clients import HttpLibrary, open_http
from forebay.targets.http import HttpClient

from .http_clients import http, post
from .raw_servers import EMPTY_OBJECT, end_of, raw_server, request_of, reset

__all__ = ["http"]

CALLS = 60


async def test_calls_one_after_the_other_share_a_connection(http: HttpClient) -> None:
    connections = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while True:
            await request_of(reader)
            writer.write(EMPTY_OBJECT)
            await writer.drain()

    async with raw_server(answer) as port:
        for _ in range(5):
            await post(http, port)
    assert len(connections) == 1


async def test_calls_at_once_have_a_connection_each_without_a_limit(http: HttpClient) -> None:
    calls = 300
    arrived = asyncio.Semaphore(0)
    everyone = asyncio.Event()

    async def answer_together(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        arrived.release()
        await everyone.wait()
        writer.write(EMPTY_OBJECT)
        await writer.drain()

    async with raw_server(answer_together) as port, asyncio.TaskGroup() as group:
        tasks = [group.create_task(post(http, port, seconds=30)) for _ in range(calls)]
        for _ in range(calls):
            await arrived.acquire()
        everyone.set()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("library", HttpLibrary)
async def test_an_idle_connection_is_closed_by_us_before_servers_do(
    library: HttpLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"forebay.targets.{library.value}_client.KEEPALIVE_SECONDS", 0.1)
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(EMPTY_OBJECT)
        await writer.drain()
        await end_of(reader)
        closed.set()

    http = open_http(library)
    async with raw_server(answer) as port:
        await post(http, port)
        async with asyncio.timeout(120):
            await closed.wait()
    await http.close()


async def test_closing_the_client_closes_its_connections(http: HttpClient) -> None:
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(EMPTY_OBJECT)
        await writer.drain()
        await end_of(reader)
        closed.set()

    async with raw_server(answer) as port:
        await post(http, port)
        await http.close()
        async with asyncio.timeout(120):
            await closed.wait()


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("when", ["idle", "in the next request", "after the next request"])
@pytest.mark.parametrize("size", [20, 300_000])
async def test_a_kept_connection_that_ends_anyhow_delivers_no_request_twice(
    http: HttpClient, when: str, *, is_reset: bool, size: int
) -> None:
    """A request counts as delivered when its first line has come: a server may act on what it has seen."""
    delivered: Counter[bytes] = Counter()

    async def answer_one_and_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        delivered[await reader.readline()] += 1
        await request_of(reader)
        writer.write(EMPTY_OBJECT)
        await writer.drain()
        if when != "idle":
            delivered[await reader.readline()] += 1
        if when == "after the next request":
            await request_of(reader)
        if is_reset:
            reset(writer)

    answered = 0
    async with raw_server(answer_one_and_end) as port:
        for number in range(CALLS):
            path = f"/v1/{number}"
            try:
                await post(http, f"http://127.0.0.1:{port}{path}", b"x" * size)
                answered += 1
            except TargetFailed:
                continue
            except TargetUnavailable:
                assert delivered[f"POST {path} HTTP/1.1\r\n".encode()] == 0
    del delivered[b""]  # connections that ended without a next request
    assert answered >= CALLS // 2
    assert max(delivered.values()) == 1

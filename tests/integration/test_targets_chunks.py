"""Answers that are read as they come, for every HTTP client: each piece at once, cuts told, and the rest closed."""

import asyncio

import pytest

from forebay.domain.errors import TargetError, TargetFailed, TargetRejected, TargetTimeout, TargetUnavailable
from forebay.targets.http import HttpClient

from .http_clients import HEADERS, MAX_BYTES, http
from .raw_servers import JSON_HEAD, Behaviour, answering, end_of, raw_server, request_of, reset

__all__ = ["http"]

CHUNKED = JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n"


async def read(http: HttpClient, address: int | str, seconds: float = 60) -> tuple[int, list[bytes]]:
    url = f"http://127.0.0.1:{address}/v1" if isinstance(address, int) else address
    async with http.stream(url, HEADERS, b"{}", seconds) as answer:
        return answer.status, [chunk async for chunk in answer.chunks]


async def test_a_piece_comes_before_the_next_is_sent(http: HttpClient) -> None:
    read_so_far, pieces = asyncio.Semaphore(0), [b"one", b"two", b"three"]

    async def send_when_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(CHUNKED)
        for piece in pieces:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await read_so_far.acquire()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    got = []
    async with (
        raw_server(send_when_read) as port,
        http.stream(f"http://127.0.0.1:{port}/", HEADERS, b"{}", 20) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        async for chunk in answer.chunks:
            got.append(chunk)
            read_so_far.release()
    assert got == pieces


async def test_an_error_has_its_body(http: HttpClient) -> None:
    answer = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 2\r\n\r\n{}"
    async with raw_server(answering(answer)) as port:
        assert await read(http, port) == (429, [b"{}"])


async def test_trailers_are_no_piece(http: HttpClient) -> None:
    async with raw_server(answering(CHUNKED + b"2\r\n{}\r\n0\r\nx-checksum: 1\r\n\r\n")) as port:
        assert await read(http, port) == (200, [b"{}"])


async def close_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(CHUNKED + b"2\r\n{}\r\n")
    await writer.drain()


async def reset_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await close_in_the_body(reader, writer)
    reset(writer)


async def close_short_of_the_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(JSON_HEAD + b"content-length: 9\r\n\r\n{}")
    await writer.drain()


async def break_the_framing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(CHUNKED + b"2\r\n{}\r\nzz\r\n")
    await writer.drain()


async def close_without_an_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(JSON_HEAD + b"connection: close\r\n\r\n")
    while True:
        writer.write(b" " * MAX_BYTES)
        await writer.drain()


@pytest.mark.parametrize(
    "behaviour",
    [
        close_in_the_body,
        reset_in_the_body,
        close_short_of_the_length,
        break_the_framing,
        close_without_an_answer,
        pour,
    ],
)
async def test_a_stream_that_breaks_is_a_failed_attempt(http: HttpClient, behaviour: Behaviour) -> None:
    async with raw_server(behaviour) as port:
        with pytest.raises(TargetError) as caught:
            await read(http, port)
    assert type(caught.value) is TargetFailed


async def test_a_stream_that_stalls_is_a_timeout(http: HttpClient) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await close_in_the_body(reader, writer)
        await reader.read()

    async with raw_server(stall) as port:
        with pytest.raises(TargetTimeout):
            await read(http, port, seconds=1.5)


async def test_what_cannot_be_reached_is_told_as_for_any_call(http: HttpClient) -> None:
    async with raw_server(close_without_an_answer) as port:
        pass
    with pytest.raises(TargetUnavailable):
        await read(http, port)
    with pytest.raises(TargetRejected):
        await read(http, "http://[nonsense/v1")


async def test_a_stream_that_is_left_early_closes_its_connection(http: HttpClient) -> None:
    closed = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await close_in_the_body(reader, writer)
        await end_of(reader)
        closed.set()

    async def read_one(port: int) -> None:
        async with http.stream(f"http://127.0.0.1:{port}/", HEADERS, b"{}", 60) as answer:
            async for _ in answer.chunks:
                raise KeyError("the reader's own trouble")

    async with raw_server(wait) as port:
        with pytest.raises(KeyError):
            await read_one(port)
        async with asyncio.timeout(120):
            await closed.wait()


async def test_a_stream_that_was_read_to_its_end_gives_its_connection_back(http: HttpClient) -> None:
    connections = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while True:
            await request_of(reader)
            writer.write(CHUNKED + b"2\r\n{}\r\n0\r\n\r\n")
            await writer.drain()

    async with raw_server(answer) as port:
        for _ in range(3):
            assert await read(http, port) == (200, [b"{}"])
    assert len(connections) == 1

"""What every HTTP client does on the wire, byte by byte: what it sends, how it reads, what it tells of what breaks."""

import asyncio
import gzip

import pytest

from forebay.domain.errors import TargetFailed, TargetRejected, TargetTimeout, TargetUnavailable
from forebay.targets.http import HttpClient

from .http_clients import MAX_BYTES, failure, http, post
from .raw_servers import EMPTY_OBJECT, JSON_HEAD, Behaviour, answering, raw_server, request_of, reset

__all__ = ["http"]


def recording(seen: list[bytes], answer: bytes = EMPTY_OBJECT) -> Behaviour:
    """Answers every request of a connection, and keeps what came."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await request_of(reader))
            writer.write(answer)
            await writer.drain()

    return behave


async def test_a_request_has_our_headers_and_no_others(http: HttpClient) -> None:
    seen: list[bytes] = []
    async with raw_server(recording(seen)) as port:
        await post(http, port, b'{"a":1}')
        await http.get(f"http://127.0.0.1:{port}/v1/models?limit=2", {"x-key": "k"}, 5)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /v1/chat http/1.1"
    assert sorted(lines[1:]) == sorted(
        [
            b"host: 127.0.0.1:%d" % port,
            b"content-type: application/json",
            b"accept: */*",
            b"accept-encoding: identity",
            b"content-length: 7",
        ]
    )
    assert body == b'{"a":1}'
    lines = seen[1].lower().rstrip().split(b"\r\n")
    assert lines[0] == b"get /v1/models?limit=2 http/1.1"
    assert b"x-key: k" in lines
    assert not any(line.startswith((b"content-type", b"user-agent", b"cookie")) for line in lines)


async def test_names_of_headers_come_in_lower_case_and_values_as_text(http: HttpClient) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-ID: r1\r\nX-Place: caf\xe9\r\n\r\n{}"
    async with raw_server(answering(answer)) as port:
        response = await post(http, port)
    assert response.status == 200
    assert response.body == b"{}"
    assert response.headers["x-request-id"] == "r1"
    assert response.headers["x-place"].encode("utf-8")
    assert all(name == name.lower() for name in response.headers)


async def test_cookies_are_not_kept(http: HttpClient) -> None:
    seen: list[bytes] = []
    answer = JSON_HEAD + b"set-cookie: session=1; path=/\r\ncontent-length: 2\r\n\r\n{}"
    async with raw_server(recording(seen, answer)) as port:
        await post(http, port)
        await post(http, port)
    assert len(seen) == 2
    assert b"cookie" not in seen[1].lower()


async def test_a_redirect_is_an_answer(http: HttpClient) -> None:
    seen: list[bytes] = []
    answer = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
    async with raw_server(recording(seen, answer)) as port:
        response = await post(http, port)
    assert response.status == 307
    assert response.headers["location"] == "/elsewhere"
    assert len(seen) == 1


async def test_a_compressed_answer_that_nobody_asked_for_is_read_and_its_headers_stay_true(http: HttpClient) -> None:
    packed = gzip.compress(b'{"a": "' + b"x" * 5000 + b'"}')
    answer = JSON_HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed
    async with raw_server(answering(answer)) as port:
        response = await post(http, port)
    assert len(response.body) == 5009
    assert "content-encoding" not in response.headers
    assert response.headers.get("content-length") in {None, "5009"}


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_broken_off(http: HttpClient) -> None:
    packed = gzip.compress(b"x" * 50_000_000)
    assert len(packed) < MAX_BYTES
    answer = JSON_HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed
    async with raw_server(answering(answer)) as port:
        error = await failure(http, port)
    assert type(error) is TargetFailed
    assert "longer than" in error.message


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + EMPTY_OBJECT, 200, b"{}"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + EMPTY_OBJECT, 200, b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (JSON_HEAD + b"connection: close\r\n\r\n{}", 200, b"{}"),
        (JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 200, b"{}"),
        (JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n", 200, b"{}"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", 200, b"{}"),
        (b"HTTP/1.1 529 \r\ncontent-length: 2\r\n\r\n{}", 529, b"{}"),
    ],
)
async def test_every_way_of_framing_an_answer_is_read(
    http: HttpClient, answer: bytes, status: int, body: bytes
) -> None:
    async with raw_server(answering(answer)) as port:
        response = await post(http, port)
    assert (response.status, response.body) == (status, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"hello",
        b"HTTP/1.1 twohundred OK\r\n\r\n",
        JSON_HEAD + b"content-length: -2\r\n\r\n{}",
        JSON_HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
        JSON_HEAD + b"x: " + b"y" * 1_000_000 + b"\r\ncontent-length: 2\r\n\r\n{}",
    ],
)
async def test_what_is_not_http_is_a_failed_attempt(http: HttpClient, answer: bytes) -> None:
    async with raw_server(answering(answer)) as port:
        assert type(await failure(http, port)) is TargetFailed


async def reset_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset_in_the_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(10)
    reset(writer)


async def reset_after_the_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    reset(writer)


async def reset_in_the_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await writer.drain()
    reset(writer)


@pytest.mark.parametrize(
    "behaviour",
    [close_at_once, reset_in_the_request, reset_after_the_request, reset_in_the_head],
)
@pytest.mark.parametrize("size", [10, 5_000_000])
async def test_a_connection_that_breaks_is_a_failed_attempt_since_it_may_have_delivered(
    http: HttpClient, behaviour: Behaviour, size: int
) -> None:
    async with raw_server(behaviour) as port:
        error = await failure(http, port, b"x" * size)
    assert type(error) is TargetFailed
    assert error.status_code is None
    assert f"127.0.0.1:{port}" in error.message


async def test_a_connection_reset_as_it_is_made_is_unavailable_or_failed(http: HttpClient) -> None:
    async with raw_server(reset_at_once) as port:
        error = await failure(http, port)  # as the reset comes before or after the system calls it connected
    assert type(error) in {TargetUnavailable, TargetFailed}


async def test_endless_slow_bytes_are_a_timeout(http: HttpClient) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(JSON_HEAD + b"content-length: 90000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw_server(drip) as port:
        error = await failure(http, port, seconds=1.5)
    assert type(error) is TargetTimeout
    assert error.status_code == 200


async def test_endless_fast_bytes_are_broken_off(http: HttpClient) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(JSON_HEAD + b"connection: close\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()

    async with raw_server(pour) as port:
        error = await failure(http, port)
    assert type(error) is TargetFailed
    assert "longer than" in error.message


async def test_an_answer_before_the_whole_request_was_read_is_the_answer(http: HttpClient) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)

    async with raw_server(refuse) as port:
        response = await post(http, port, b"x" * 20_000_000)
    assert response.status == 413


@pytest.mark.parametrize(
    "url", ["http://[nonsense/v1", "http:///v1", "http://127.0.0.1:99999/v1", "http://127.0.0.1:0/", "nonsense"]
)
async def test_an_address_that_is_no_url_is_rejected_for_good(http: HttpClient, url: str) -> None:
    assert type(await failure(http, url)) is TargetRejected


async def test_messages_have_neither_path_nor_credentials(http: HttpClient) -> None:
    async with raw_server(answering(b"")) as port:
        pass
    error = await failure(http, f"http://user:secret@127.0.0.1:{port}/private?token=secret")
    assert f"127.0.0.1:{port}" in error.message
    assert "secret" not in error.message
    assert "private" not in error.message

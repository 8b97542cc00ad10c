"""Every row of the table of attempts, over real sockets: the mock model's faults and servers that misbehave."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from forebay.domain.errors import (
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.inference import Call
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.build import build_target
from forebay.targets.clients import HttpLibrary, open_http
from forebay.targets.http import HttpClient
from forebay.testing.mock_model import MockModel

from .raw_servers import JSON_HEAD, answering, raw_server, request_of

KEY = "sk-very-secret"


@pytest.fixture
async def mock() -> AsyncIterator[MockModel]:
    async with MockModel() as running:
        yield running


@pytest.fixture(params=HttpLibrary)
async def http(request: pytest.FixtureRequest) -> AsyncIterator[HttpClient]:
    client = open_http(request.param, max_answer_bytes=100_000)
    yield client
    await client.close()


def prompt(text: str) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":"%b"}]}' % text.encode()


async def failure(http: HttpClient, base_url: str, body: bytes = b"{}", timeout_seconds: float = 60) -> TargetError:
    """Makes one call that is expected to fail, and returns its error."""
    target = build_target(TargetSpec(name="t", type=TargetType.OPENAI, base_url=base_url, api_key=KEY), http)
    call = Call(job_id="j", attempt=1, endpoint="/v1/chat/completions", body=body, timeout_seconds=timeout_seconds)
    with pytest.raises(TargetError) as caught:
        await target.call(call)
    assert KEY not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, TargetThrottled),
        (503, TargetUnavailable),
        (529, TargetUnavailable),
        *[(status, TargetFailed) for status in (408, 409, 425, 500, 502, 504, 520)],
        *[(status, TargetRejected) for status in (400, 401, 403, 404, 405, 413, 422, 302, 307)],
    ],
)
async def test_each_status_has_its_meaning(
    mock: MockModel, http: HttpClient, status: int, kind: type[TargetError]
) -> None:
    error = await failure(http, mock.base_url, prompt(f"[[fault:{status}]]"))
    assert type(error) is kind
    assert error.status_code == status
    assert error.body


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_comes_with_the_error(mock: MockModel, http: HttpClient, status: int) -> None:
    error = await failure(http, mock.base_url, prompt(f"[[fault:{status}]]"))
    assert error.retry_after == 1.0


async def test_a_redirect_is_not_followed_and_the_message_says_so(mock: MockModel, http: HttpClient) -> None:
    error = await failure(http, mock.base_url, prompt("[[fault:308]]"))
    assert "redirect" in error.message
    assert mock.calls["total"] == 1


@pytest.mark.parametrize("fault", ["reset", "reset-body", "close-body", "truncate", "invalid"])
async def test_what_breaks_after_sending_is_a_failed_attempt(mock: MockModel, http: HttpClient, fault: str) -> None:
    error = await failure(http, mock.base_url, prompt(f"[[fault:{fault}]]"))
    assert type(error) is TargetFailed
    assert mock.calls["total"] == 1


async def test_a_hanging_target_is_a_timeout_and_its_connection_is_closed(mock: MockModel, http: HttpClient) -> None:
    error = await failure(http, mock.base_url, prompt("[[fault:hang]]"), timeout_seconds=1.5)
    assert type(error) is TargetTimeout
    async with asyncio.timeout(120):
        while mock.calls["in_flight"]:
            await asyncio.sleep(0)
    assert mock.calls["by_outcome"] == {"hang": 1}


async def test_a_body_that_stalls_is_a_timeout(http: HttpClient) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(JSON_HEAD + b"content-length: 10\r\n\r\n{")
        await reader.read()

    async with raw_server(stall) as port:
        assert type(await failure(http, f"http://127.0.0.1:{port}", timeout_seconds=1.5)) is TargetTimeout


async def test_a_refused_connection_is_unavailable(http: HttpClient) -> None:
    async with raw_server(answering(b"")) as port:
        pass
    error = await failure(http, f"http://127.0.0.1:{port}/v1")
    assert type(error) is TargetUnavailable
    assert f"127.0.0.1:{port}" in error.message


async def test_a_name_that_does_not_resolve_is_unavailable(http: HttpClient) -> None:
    assert type(await failure(http, "http://no-such-host.invalid/v1")) is TargetUnavailable


async def test_tls_to_a_server_that_speaks_none_is_unavailable(http: HttpClient) -> None:
    async def talk_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(talk_plainly) as port:
        assert type(await failure(http, f"https://127.0.0.1:{port}/v1")) is TargetUnavailable


async def test_tls_that_is_cut_in_the_handshake_is_unavailable(http: HttpClient) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with raw_server(hang_up) as port:
        assert type(await failure(http, f"https://127.0.0.1:{port}/v1")) is TargetUnavailable


async def test_a_connection_closed_without_an_answer_is_a_failed_attempt(http: HttpClient) -> None:
    async with raw_server(answering(b"")) as port:
        assert type(await failure(http, f"http://127.0.0.1:{port}")) is TargetFailed


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 9\r\n\r\n<p>hi</p>",
        JSON_HEAD + b"content-length: 0\r\n\r\n",
        JSON_HEAD + b'content-length: 8\r\n\r\n{"a": "\xff',
        JSON_HEAD + b'transfer-encoding: chunked\r\n\r\n5\r\n{"a":\r\n',
        JSON_HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        JSON_HEAD + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
        JSON_HEAD + b"content-length: 100\r\n\r\n{}",
    ],
)
async def test_an_answer_that_cannot_be_read_is_a_failed_attempt(http: HttpClient, answer: bytes) -> None:
    async with raw_server(answering(answer)) as port:
        assert type(await failure(http, f"http://127.0.0.1:{port}")) is TargetFailed


@pytest.mark.parametrize("head", [b"content-length: 200000\r\n\r\n", b"connection: close\r\n\r\n"])
async def test_an_answer_beyond_the_bound_is_broken_off(http: HttpClient, head: bytes) -> None:
    async with raw_server(answering(JSON_HEAD + head + b'"' + b"x" * 199_998 + b'"')) as port:
        error = await failure(http, f"http://127.0.0.1:{port}")
    assert type(error) is TargetFailed
    assert "longer than" in error.message


async def test_a_kept_connection_closed_by_its_server_is_replaced_without_a_failure(http: HttpClient) -> None:
    closed = asyncio.Event()

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(JSON_HEAD + b"content-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with raw_server(answer_once) as port:
        for _ in range(3):
            closed.clear()
            response = await http.post(f"http://127.0.0.1:{port}/", {}, b"{}", 5)
            assert response.status == 200
            await closed.wait()


async def test_a_failed_handshake_is_unavailable_and_nothing_was_sent(http: HttpClient) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # no certificate at all: the handshake fails
    received = bytearray()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read())

    async with raw_server(collect, context) as port:
        assert type(await failure(http, f"https://127.0.0.1:{port}/v1")) is TargetUnavailable
    assert not received


async def test_a_message_has_the_vendors_reason_but_never_the_key(http: HttpClient) -> None:
    body = b'{"error":{"message":"Incorrect API key: %b"},"prompt":"private"}' % KEY.encode()
    head = b"HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with raw_server(answering(head + body)) as port:
        error = await failure(http, f"http://127.0.0.1:{port}")
    assert error.message == "target 't' answered 401: Incorrect API key: [key]"
    assert error.body == body.replace(KEY.encode(), b"[key]")


async def test_cancelling_a_call_breaks_it_off_at_once(mock: MockModel, http: HttpClient) -> None:
    target = build_target(TargetSpec(name="t", type=TargetType.OPENAI, base_url=mock.base_url), http)
    body = prompt("[[fault:hang]]")
    call = Call(job_id="j", attempt=1, endpoint="/v1/chat/completions", body=body, timeout_seconds=60)
    task = asyncio.create_task(target.call(call))
    async with asyncio.timeout(120):
        while not mock.calls["in_flight"]:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while mock.calls["in_flight"]:
            await asyncio.sleep(0)

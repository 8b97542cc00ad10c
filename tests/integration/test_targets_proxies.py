"""Proxies of the environment, for every HTTP client: plain requests, CONNECT, credentials, exceptions and failures."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trustme

from forebay.domain.errors import TargetUnavailable
from forebay.targets.http import HttpClient

from .http_clients import failure, http, post
from .raw_servers import JSON_HEAD, answering, raw_server, request_of
from .test_targets_tls import HOST, authority, tls_server, trusted

__all__ = ["authority", "http", "trusted"]

KEY = {"authorization": "Bearer sk-secret"}


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def proxy(
    tunnel: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n",
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yields a proxy's port and the heads it got. It answers plain requests itself, and passes tunnels on."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await request_of(reader)
        heads.append(request.partition(b"\r\n\r\n")[0])
        if not request.startswith(b"CONNECT"):
            writer.write(JSON_HEAD + b'content-length: 13\r\n\r\n{"proxied":1}')
            await writer.drain()
            return
        writer.write(tunnel)
        await writer.drain()
        if b" 200 " in tunnel:
            host, _, port = request.split()[1].decode().partition(":")
            await _joined(reader, writer, *await asyncio.open_connection(host, int(port)))

    async with raw_server(serve) as port:
        yield port, heads


async def _joined(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    try:
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
    finally:
        far_writer.transport.abort()
        with suppress(ConnectionError):
            await far_writer.wait_closed()


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
async def test_a_plain_request_goes_to_the_proxy_whole(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    async with proxy() as (port, heads):
        monkeypatch.setenv(variable, f"http://us%40er:pass@{HOST}:{port}")
        response = await post(http, "http://model.test:8000/v1/chat")
    assert response.body == b'{"proxied":1}'
    lines = heads[0].lower().split(b"\r\n")
    assert lines[0] == b"post http://model.test:8000/v1/chat http/1.1"
    assert b"host: model.test:8000" in lines
    credentials = base64.b64encode(b"us@er:pass").lower()
    assert b"proxy-authorization: basic " + credentials in lines


async def test_a_tls_request_goes_through_a_tunnel_and_its_key_is_not_the_proxys_to_see(
    http: HttpClient, trusted: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_server(trusted.issue_cert(HOST)) as (far, requests), proxy() as (port, heads):
        monkeypatch.setenv("https_proxy", f"http://user:pass@{HOST}:{port}")
        for _ in range(2):
            assert (await post(http, f"https://{HOST}:{far}/v1", headers=KEY)).status == 200
    assert len(requests) == 2
    assert len(heads) == 1  # the tunnel is kept
    assert heads[0].startswith(b"CONNECT %b:%d HTTP/1.1" % (HOST.encode(), far))
    assert b"proxy-authorization: basic dxnlcjpwyxnz" in heads[0].lower()
    assert b"secret" not in heads[0]
    assert b"proxy-authorization" not in requests[0].lower()


async def test_a_certificate_is_checked_through_a_tunnel_too(
    http: HttpClient, trusted: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_server(trusted.issue_cert("example.org")) as (far, requests), proxy() as (port, _):
        monkeypatch.setenv("https_proxy", f"http://{HOST}:{port}")
        assert type(await failure(http, f"https://{HOST}:{far}/v1")) is TargetUnavailable
    assert requests == []


@pytest.mark.parametrize("exception", ["127.0.0.1", "127.0.0.1:{port}", "*", "example.org,127.0.0.1"])
async def test_an_exception_is_not_sent_to_the_proxy(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch, exception: str
) -> None:
    async with raw_server(answering(JSON_HEAD + b"content-length: 2\r\n\r\n{}")) as port:
        monkeypatch.setenv("http_proxy", f"http://{HOST}:1")
        monkeypatch.setenv("no_proxy", exception.format(port=port))
        assert (await post(http, port)).status == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_connections_is_unavailable(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    async with raw_server(answering(b"")) as port:
        pass
    monkeypatch.setenv(f"{scheme}_proxy", f"http://user:pass@{HOST}:{port}")
    error = await failure(http, f"{scheme}://model.test/v1")
    assert type(error) is TargetUnavailable
    assert "pass" not in error.message


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"403 Forbidden", b"502 Bad Gateway"])
async def test_a_proxy_that_makes_no_tunnel_is_unavailable(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch, status: bytes
) -> None:
    async with proxy(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n") as (port, _):
        monkeypatch.setenv("https_proxy", f"http://{HOST}:{port}")
        error = await failure(http, "https://model.test/v1")
    assert type(error) is TargetUnavailable
    assert "proxy" in error.message


async def test_a_proxy_that_is_silent_is_unavailable_before_the_call_ends(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(say_nothing) as port:
        monkeypatch.setenv("https_proxy", f"http://{HOST}:{port}")
        assert type(await failure(http, "https://model.test/v1", seconds=3.0)) is TargetUnavailable

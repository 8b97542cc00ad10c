"""TLS and unreachable places, for every HTTP client: whom it trusts, and that nothing is sent to anybody else."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from forebay.domain.errors import TargetUnavailable
from forebay.targets.http import HttpClient

from .http_clients import failure, http, post
from .raw_servers import EMPTY_OBJECT, raw_server, request_of, reset

__all__ = ["http"]

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The one authority that the environment trusts."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return authority


@asynccontextmanager
async def tls_server(certificate: trustme.LeafCert) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yields the port and the requests that came."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            requests.append(await request_of(reader))
            writer.write(EMPTY_OBJECT)
            await writer.drain()

    async with raw_server(answer, context) as port:
        yield port, requests


async def test_an_authority_of_the_environment_is_trusted(http: HttpClient, trusted: trustme.CA) -> None:
    async with tls_server(trusted.issue_cert(HOST, "localhost")) as (port, requests):
        assert (await post(http, f"https://{HOST}:{port}/v1")).status == 200
        assert (await post(http, f"https://localhost:{port}/v1")).body == b"{}"
        async with http.stream(f"https://{HOST}:{port}/v1", {}, b"{}", 5) as answer:
            assert [chunk async for chunk in answer.chunks] == [b"{}"]
    assert len(requests) == 3


def certificates(name: str, trusted: trustme.CA) -> trustme.LeafCert:
    now = datetime.now(UTC)
    match name:
        case "of an unknown authority":
            return trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert(HOST)
        case "for another name":
            return trusted.issue_cert("example.org")
        case "for a part of the name":
            return trusted.issue_cert("*.0.0.1")
        case "expired":
            return trusted.issue_cert(HOST, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
        case _:
            return trusted.issue_cert(HOST, not_before=now + timedelta(days=1), not_after=now + timedelta(days=9))


@pytest.mark.parametrize(
    "name", ["of an unknown authority", "for another name", "for a part of the name", "expired", "not valid yet"]
)
async def test_a_certificate_that_does_not_fit_is_unavailable_and_nothing_was_sent(
    http: HttpClient, trusted: trustme.CA, name: str
) -> None:
    async with tls_server(certificates(name, trusted)) as (port, requests):
        error = await failure(http, f"https://{HOST}:{port}/v1")
    assert type(error) is TargetUnavailable
    assert "certificate" in error.message
    assert requests == []


async def test_a_handshake_that_is_reset_is_unavailable(http: HttpClient) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reset(writer)

    async with raw_server(hang_up) as port:
        assert type(await failure(http, f"https://{HOST}:{port}/v1")) is TargetUnavailable


async def test_a_handshake_that_hangs_is_unavailable_before_the_call_ends(http: HttpClient) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(say_nothing) as port:
        assert type(await failure(http, f"https://{HOST}:{port}/v1", seconds=3.0)) is TargetUnavailable


async def test_a_host_that_takes_no_connection_is_unavailable_before_the_call_ends(http: HttpClient) -> None:
    with socket.socket() as full:  # a queue of connections that nobody takes, filled up
        full.bind((HOST, 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        error = await failure(http, full.getsockname()[1], seconds=3.0)
        for filler in fillers:
            filler.close()
    assert type(error) is TargetUnavailable
    assert "in time" in error.message


async def test_a_name_is_looked_up_again_at_every_failure(http: HttpClient) -> None:
    for _ in range(2):
        error = await failure(http, "http://no-such-host.invalid/v1")
        assert type(error) is TargetUnavailable
        assert "no-such-host.invalid:80" in error.message

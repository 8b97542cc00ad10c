"""HttpClient on aiohttp. What costs per call in aiohttp and is not needed is left out here, with the reason beside it.

A kept connection that its server has closed meanwhile: aiohttp sends POSTs again by itself only where they are
idempotent, which none of ours is. Told apart for certain is only the write that fails before its first byte; that one
is sent again here. A connection that breaks after the write may have delivered the request to a server that then died,
so it is TargetFailed: the ledger must never hide a call. It stays rare because connections are kept for a shorter time
than servers keep them (Node and uvicorn: 5 s, nginx: 75 s).
"""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache

import aiohttp
from yarl import URL

from forebay.domain.errors import TargetError, TargetFailed, TargetRejected, TargetTimeout, TargetUnavailable
from forebay.targets.http import (
    KEEPALIVE_SECONDS,
    MAX_ANSWER_BYTES,
    MAX_FILE_BYTES,
    Body,
    Response,
    StreamResponse,
    Upload,
)
from forebay.targets.proxies import proxy_of

CONNECT_SECONDS = 15.0  # DNS, TCP and TLS together; a longer silence is a host that is not there
DNS_CACHE_SECONDS = 60
RESENDS = 2  # of requests of which no byte was written
MOST_URLS = 1024
_READ_BUFFER_BYTES = 256 * 1024
_LARGE_BODY_BYTES = 1024 * 1024  # above it aiohttp wants a file, which it writes in pieces
_SKIPPED_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class AiohttpClient:
    """One session for all targets of a process. Made anywhere; opened by its first call in the running loop."""

    def __init__(self, *, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, tuple[URL, URL | None]] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: Body, timeout_seconds: float) -> Response:
        return await self._exchange("POST", url, headers, body, timeout_seconds)

    async def get(self, url: str, headers: Mapping[str, str], timeout_seconds: float) -> Response:
        return await self._exchange("GET", url, headers, None, timeout_seconds)

    async def delete(self, url: str, headers: Mapping[str, str], timeout_seconds: float) -> Response:
        return await self._exchange("DELETE", url, headers, None, timeout_seconds)

    @asynccontextmanager
    async def fetch(
        self, url: str, headers: Mapping[str, str], timeout_seconds: float
    ) -> AsyncIterator[StreamResponse]:
        response = await self._send("GET", url, headers, None, timeout_seconds)
        try:
            yield StreamResponse(
                status=response.status,
                headers=_headers_of(response),
                chunks=self._chunks(response, url, timeout_seconds, MAX_FILE_BYTES),
            )
        finally:
            response.close()

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str], body: Body, timeout_seconds: float
    ) -> AsyncIterator[StreamResponse]:
        response = await self._send("POST", url, headers, body, timeout_seconds)
        try:
            yield StreamResponse(
                status=response.status,
                headers=_headers_of(response),
                chunks=self._chunks(response, url, timeout_seconds),
            )
        finally:
            response.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, timeout_seconds: float
    ) -> Response:
        response = await self._send(method, url, headers, body, timeout_seconds)
        try:
            answer = await self._read(response)
        except (aiohttp.ClientError, OSError) as exc:
            raise _told(exc, url, timeout_seconds, response.status) from exc
        finally:
            response.close()  # after the end of the body the connection is back in the pool already
        return Response(status=response.status, headers=_headers_of(response), body=answer)

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, timeout_seconds: float
    ) -> aiohttp.ClientResponse:
        """Sends and awaits the head of the answer."""
        address, proxy = self._urls.get(url) or self._resolve(url)
        session = self._session or self._open()
        limit = _timeout(timeout_seconds)
        if isinstance(body, Upload):
            headers = body.headed(headers)
        for resend in range(RESENDS + 1):
            try:
                return await session.request(
                    method,
                    address,
                    data=_data(body),
                    headers=headers,
                    timeout=limit,
                    allow_redirects=False,
                    proxy=proxy,
                )
            except (aiohttp.ClientError, OSError) as exc:
                if _is_unsent(exc) and resend < RESENDS:
                    continue
                raise _told(exc, url, timeout_seconds) from exc
        raise AssertionError("the last resend returns or raises")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        headers = response.headers
        length = headers.get("Content-Length")  # a number: the parser refuses any other
        if length is not None and int(length) <= self._max_answer_bytes and "Content-Encoding" not in headers:
            return await response.content.read()
        pieces, total = [], 0
        async for piece in response.content.iter_any():
            total += len(piece)
            self._check_size(total, response)
            pieces.append(piece)
        return b"".join(pieces)

    async def _chunks(
        self, response: aiohttp.ClientResponse, url: str, timeout_seconds: float, most_bytes: int | None = None
    ) -> AsyncIterator[bytes]:
        total = 0
        try:
            async for piece in response.content.iter_any():
                total += len(piece)
                self._check_size(total, response, most_bytes)
                yield piece
        except (aiohttp.ClientError, OSError) as exc:
            raise _told(exc, url, timeout_seconds, response.status) from exc

    def _check_size(self, total: int, response: aiohttp.ClientResponse, most_bytes: int | None = None) -> None:
        most_bytes = most_bytes or self._max_answer_bytes
        if total > most_bytes:
            message = f"the answer is longer than {most_bytes} bytes"
            raise TargetFailed(message, status_code=response.status)

    def _resolve(self, url: str) -> tuple[URL, URL | None]:
        """Parses a URL and looks its proxy up once. Raises: TargetRejected."""
        try:
            address, proxy = URL(url), proxy_of(url)
        except ValueError as exc:
            raise TargetRejected("the address of the target is not a URL") from exc
        if len(self._urls) >= MOST_URLS:
            self._urls.clear()  # places to poll have an address per job
        self._urls[url] = found = (address, URL(proxy) if proxy else None)
        return found

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=KEEPALIVE_SECONDS,
            ttl_dns_cache=DNS_CACHE_SECONDS,
            ssl=ssl.create_default_context(),  # aiohttp's own is made when it is imported
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_SKIPPED_HEADERS,
            read_bufsize=_READ_BUFFER_BYTES,
        )
        return self._session


def _data(body: Body | None) -> object:
    if isinstance(body, Upload):
        return body.pieces()
    return io.BytesIO(body) if body is not None and len(body) >= _LARGE_BODY_BYTES else body


@lru_cache(maxsize=64)
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, connect=min(CONNECT_SECONDS, seconds * 0.9))


def _headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Returns the headers, without those that were true only of the compressed body."""
    headers = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in response.raw_headers}
    if "content-encoding" in headers:
        del headers["content-encoding"]
        headers.pop("content-length", None)
    return headers


def _is_unsent(exc: BaseException) -> bool:
    """True if the connection was found closed when the first byte was to be written."""
    return isinstance(exc, aiohttp.ClientConnectionResetError) or isinstance(
        exc.__cause__, aiohttp.ClientConnectionResetError
    )


def _told(exc: BaseException, url: str, timeout_seconds: float, status: int | None = None) -> TargetError:
    """Says what broke, in words without the URL's path, query or credentials."""
    place = _origin(url)
    match exc:
        case aiohttp.ConnectionTimeoutError():
            return TargetUnavailable(f"cannot connect to {place}: no connection in time")
        case aiohttp.ClientConnectorCertificateError():
            return TargetUnavailable(f"cannot connect to {place}: its certificate is refused: {exc.certificate_error}")
        case aiohttp.ClientConnectorError():
            return TargetUnavailable(f"cannot connect to {place}: {exc.os_error.strerror or exc.os_error}")
        case aiohttp.ClientHttpProxyError():
            return TargetUnavailable(f"cannot connect to {place}: the proxy answered {exc.status}")
        case asyncio.TimeoutError():
            return TargetTimeout(f"no whole answer from {place} within {timeout_seconds:g} s", status_code=status)
        case _ if _is_unsent(exc):
            return TargetUnavailable(f"{place} closed the connection before anything was sent")
        case aiohttp.ServerDisconnectedError() | ConnectionResetError() | BrokenPipeError():
            return TargetFailed(f"{place} closed the connection without an answer", status_code=status)
        case aiohttp.ClientPayloadError():
            return TargetFailed(f"{place} broke off its answer", status_code=status)
        case aiohttp.ClientResponseError():
            return TargetFailed(f"{place} answered with something that is not HTTP", status_code=status)
        case _:
            return TargetFailed(f"the connection to {place} broke: {type(exc).__name__}", status_code=status)


def _origin(url: str) -> str:
    address = URL(url)
    return f"{address.host}:{address.port}"

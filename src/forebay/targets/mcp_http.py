"""The HTTP below an MCP session: one request's trouble stays that request's, and what its answer was is told.

The client package ends a whole session, with every call in it, when one connection breaks, and keeps no status.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar

import httpx2

from forebay.domain.errors import TargetFailed
from forebay.targets.http import KEEPALIVE_SECONDS, MAX_ANSWER_BYTES
from forebay.targets.proxies import proxy_of

CONNECT_SECONDS = 15.0  # DNS, TCP and TLS together
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_BROKEN_STATUS = 502  # what the client package is shown where there was no answer


class Seen:
    """What became of the last request of one call. ``error``: it broke; ``is_unsent``: before anything was sent."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.error: str | None = None
        self.is_unsent = False


SEEN: ContextVar[Seen | None] = ContextVar("forebay_mcp_seen", default=None)


class Guarded(httpx2.AsyncBaseTransport):
    """Sends requests, and notes their answers in the call that they are made for."""

    def __init__(self, url: str) -> None:
        limits = httpx2.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_SECONDS)
        self._inner = httpx2.AsyncHTTPTransport(
            verify=ssl.create_default_context(), limits=limits, proxy=proxy_of(url), trust_env=False
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        seen = SEEN.get() or Seen()
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as exc:
            seen.error, seen.is_unsent = type(exc).__name__, isinstance(exc, _UNSENT)
            return httpx2.Response(_BROKEN_STATUS, request=request)
        seen.status = response.status_code
        seen.headers = {name.lower(): value for name, value in response.headers.items()}
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - for the type checker
        response.stream = _Body(response.stream, seen)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Body(httpx2.AsyncByteStream):
    """A body that ends where its connection breaks, and is no longer than an answer may be."""

    def __init__(self, inner: httpx2.AsyncByteStream, seen: Seen) -> None:
        self._inner = inner
        self._seen = seen

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        try:
            async for piece in self._inner:
                total += len(piece)
                if total > MAX_ANSWER_BYTES:
                    self._seen.error = f"an answer longer than {MAX_ANSWER_BYTES} bytes"
                    return
                yield piece
        except httpx2.TransportError as exc:
            self._seen.error = type(exc).__name__

    async def aclose(self) -> None:
        await self._inner.aclose()


def open_client(url: str, headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """The client of one session. Calls have time limits of their own; what an answer takes is not its affair."""
    timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
    return httpx2.AsyncClient(headers=dict(headers), timeout=timeout, transport=Guarded(url), trust_env=False)


def broken(seen: Seen, target: str) -> TargetFailed | None:
    """Why the answer of a call is not whole, if it is not."""
    return None if seen.error is None else TargetFailed(f"target {target!r}: the connection broke: {seen.error}")

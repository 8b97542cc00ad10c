"""The one interface for outgoing HTTP: what targets need and nothing else, so that the library under it can be changed.

Failures of the wire are told as TargetErrors by one rule: what certainly did not reach the target is TargetUnavailable,
what may have reached it is TargetFailed, and what took too long is TargetTimeout. Statuses are the caller's to judge.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from forebay.domain.record import Record

KEEPALIVE_SECONDS = 4.0  # shorter than servers keep connections (Node and uvicorn: 5 s, nginx: 75 s)
MAX_ANSWER_BYTES = 64 * 1024 * 1024  # a longer answer is broken off: it would stand whole in memory
MAX_FILE_BYTES = 4 * 1024 * 1024 * 1024  # of what is fetched as it comes, into a file


class Response(Record, frozen=True, kw_only=True):
    """An answer read whole. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamResponse:
    """An answer whose body is read as it comes; the iterator raises TargetFailed if it is cut."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A body that is read as it is sent; each call of ``pieces`` begins anew."""

    size_bytes: int
    content_type: str
    pieces: Callable[[], AsyncIterator[bytes]]

    def headed(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of a request with this body."""
        return {**headers, "content-type": self.content_type, "content-length": str(self.size_bytes)}


Body = bytes | Upload


class HttpClient(Protocol):
    """Sends requests over kept connections, without redirects, cookies or a limit per host: the engine limits.

    Every call is bounded by ``timeout_seconds`` as a whole, body included.

    Raises: TargetUnavailable: not sent (refused, DNS, TLS, proxy). TargetFailed: reset, closed or garbled after it was
    sent. TargetTimeout: no whole answer in time. Cancelling closes the connection.
    """

    async def post(self, url: str, headers: Mapping[str, str], body: Body, timeout_seconds: float) -> Response: ...

    async def get(self, url: str, headers: Mapping[str, str], timeout_seconds: float) -> Response: ...

    def stream(
        self, url: str, headers: Mapping[str, str], body: Body, timeout_seconds: float
    ) -> AbstractAsyncContextManager[StreamResponse]: ...

    async def delete(self, url: str, headers: Mapping[str, str], timeout_seconds: float) -> Response: ...

    def fetch(
        self, url: str, headers: Mapping[str, str], timeout_seconds: float
    ) -> AbstractAsyncContextManager[StreamResponse]:
        """A GET whose body is read as it comes, up to ``MAX_FILE_BYTES``."""
        ...

    async def close(self) -> None: ...

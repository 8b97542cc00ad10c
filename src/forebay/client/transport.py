"""How the client speaks to a server: one session, errors as exceptions, repeats only where they are harmless."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
import msgspec

from forebay.domain.errors import (
    Conflict,
    Forbidden,
    Interrupted,
    NotFound,
    RequestError,
    StoreUnavailable,
    TooMany,
    Unauthorized,
)
from forebay.domain.hops import HOPS, HOPS_HEADER

DEFAULT_SERVER = "http://127.0.0.1:8700"
TRIES = 4
FIRST_PAUSE_SECONDS = 0.2
CHUNK_BYTES = 256 * 1024
HEARTBEAT_SECONDS = 30.0  # of a WebSocket: a peer that is gone without a word is noticed
T = TypeVar("T")


class _Problem(msgspec.Struct, frozen=True):
    message: str = ""
    code: str | None = None
    param: str | None = None


class _Envelope(msgspec.Struct, frozen=True):
    error: _Problem = _Problem()


class Transport:
    """Sends requests to ``server``. A broken connection or a 503 is tried again where ``is_repeatable``."""

    def __init__(self, server: str | None, api_key: str | None) -> None:
        self.server = (server or os.environ.get("FOREBAY_SERVER") or DEFAULT_SERVER).rstrip("/")
        key = api_key or os.environ.get("FOREBAY_API_KEY")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = False,
    ) -> T:
        """Sends JSON and decodes the JSON answer as ``kind``. Raises: as ``send`` does."""
        data = None if body is None else msgspec.json.encode(body)
        sent = {"Content-Type": "application/json", **(headers or {})}
        answer = await self.send(method, path, data=data, params=params, headers=sent, is_repeatable=is_repeatable)
        return decoded(answer, kind)

    async def send(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = False,
    ) -> bytes:
        """Returns the body of a 2xx answer.

        Raises: Unauthorized, Forbidden, NotFound, Conflict, TooMany, RequestError: what the server said;
        StoreUnavailable: 503; Interrupted: no answer.
        """
        tries = TRIES if is_repeatable else 1
        if hops := HOPS.get():  # within a Python target
            headers = {HOPS_HEADER: str(hops), **(headers or {})}
        for remaining in range(tries - 1, -1, -1):
            try:
                async with self._open().request(
                    method, self.server + path, data=data, params=params, headers=headers
                ) as reply:
                    answer = await reply.read()
                if reply.status < 400:
                    return answer
                if reply.status != 503 or not remaining:
                    raise _error(reply.status, answer, reply.headers)
            except (aiohttp.ClientError, TimeoutError) as exc:
                if not remaining:
                    raise Interrupted(f"no answer from {self.server}: {_reason(exc)}") from exc
            pause = FIRST_PAUSE_SECONDS * 2 ** (tries - remaining)
            await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter, no secret
        raise Interrupted(f"no answer from {self.server}")

    async def stream(self, path: str, params: Mapping[str, str] | None = None) -> AsyncIterator[bytes]:
        """Yields the body in chunks, as it comes. Raises: as ``send`` does."""
        try:
            async with self._open().get(self.server + path, params=params) as reply:
                if reply.status >= 400:
                    raise _error(reply.status, await reply.read(), reply.headers)
                async for chunk in reply.content.iter_chunked(CHUNK_BYTES):
                    yield chunk
        except aiohttp.ClientError as exc:
            raise Interrupted(f"the answer of {self.server} broke off: {exc}") from exc

    @asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Opens a WebSocket, whose messages may be of any size. Raises: aiohttp.ClientError."""
        async with self._open().ws_connect(self.server + path, heartbeat=HEARTBEAT_SECONDS, max_msg_size=0) as socket:
            yield socket

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout, trust_env=True)
        return self._session


def decoded(answer: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Decodes a server's answer. Raises: Interrupted: it is none of ours (a proxy's page, a truncated body)."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Interrupted(f"the server's answer can't be read: {exc}") from exc


def _reason(error: Exception) -> str:
    system = error.os_error.strerror if isinstance(error, aiohttp.ClientConnectorError) else None
    return system or str(error) or type(error).__name__


def _error(status: int, body: bytes, headers: Mapping[str, str]) -> Exception:
    try:
        problem = msgspec.json.decode(body, type=_Envelope).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = _Problem(message=body[:200].decode(errors="replace"))
    message = problem.message or f"the server answered {status}"
    if status == 401:
        return Unauthorized(f"{message} (FOREBAY_API_KEY)", code=problem.code)
    if status == 403 and problem.code == Forbidden.code:
        return Forbidden(message)
    if status == 429:
        wait = headers.get("retry-after", "")
        return TooMany(message, retry_after=float(wait) if wait.isdigit() else 1.0, code=problem.code)
    if status == 404:
        return NotFound(message, code=problem.code, param=problem.param)
    if status == 409:
        return Conflict(message, code=problem.code, param=problem.param)
    if status >= 500:
        return StoreUnavailable(f"the server answered {status}: {message}")
    return RequestError(message, code=problem.code, param=problem.param)

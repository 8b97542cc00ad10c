"""Waiting for many jobs at once on one WebSocket: what ends is pushed, and a lost socket is opened again."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

import aiohttp
import msgspec

from forebay.client.transport import TRIES, Transport, decoded
from forebay.client.views import JobView
from forebay.domain.errors import Interrupted, NotFound, RequestError, Unauthorized

MOST_WATCHED = 10_000  # of one socket: the server's bound
PAUSE_SECONDS = 0.2
UNAUTHENTICATED = 4401
_UNAUTHORIZED = 401


class PushRefused(Exception):
    """There is no socket: a proxy passes none on, or the server is an older one."""


class _Message(msgspec.Struct, frozen=True):
    type: str
    id: str | None = None
    job: msgspec.Raw = msgspec.Raw(b"null")
    error: dict[str, Any] = {}


class _Window:
    """The jobs that one socket watches, topped up as they end."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, job_ids: Iterable[str]) -> None:
        self._socket = socket
        self._left = deque(job_ids)
        self._watched = 0

    async def fill(self, ended: int = 0) -> None:
        self._watched -= ended
        if self._left and self._watched <= MOST_WATCHED // 2:
            some = [self._left.popleft() for _ in range(min(len(self._left), MOST_WATCHED - self._watched))]
            self._watched += len(some)
            await self._socket.send_str(msgspec.json.encode({"action": "watch", "ids": some}).decode())


async def pushed(transport: Transport, job_ids: Sequence[str]) -> AsyncGenerator[JobView, None]:
    """Yields each job once, as it ends.

    Raises: PushRefused: ask for those that were not yielded one by one. NotFound, Unauthorized, RequestError: what the
    server said. Interrupted: it has gone and does not come again.
    """
    missing = dict.fromkeys(job_ids)
    failures = 0
    while missing:
        try:
            async with transport.socket("/v1/ws") as socket:
                window = _Window(socket, missing)
                await window.fill()
                while missing:
                    job = _job_of(await socket.receive())
                    if job is not None and job.is_terminal and job.id in missing:
                        failures = 0
                        del missing[job.id]
                        yield job
                        await window.fill(ended=1)
        except aiohttp.WSServerHandshakeError as refused:
            if refused.status == _UNAUTHORIZED:
                raise Unauthorized(f"{refused.message} (FOREBAY_API_KEY)") from refused
            raise PushRefused from refused
        except (aiohttp.ClientError, ConnectionError) as exc:
            failures += 1
            if failures >= TRIES:
                raise Interrupted(f"no answer from {transport.server}: {exc}") from exc
            await asyncio.sleep(PAUSE_SECONDS * 2**failures * (0.5 + random.random()))  # noqa: S311 - jitter, no secret


def _job_of(heard: aiohttp.WSMessage) -> JobView | None:
    """The job that a message tells. Raises: ConnectionError: the socket is closed."""
    if heard.type is aiohttp.WSMsgType.CLOSE and heard.data == UNAUTHENTICATED:
        raise Unauthorized(f"{heard.extra} (FOREBAY_API_KEY)")
    if heard.type is not aiohttp.WSMsgType.TEXT:
        raise ConnectionError("the server closed the socket")
    message = decoded(heard.data.encode(), _Message)
    if message.type == "error":
        text, code = str(message.error.get("message")), message.error.get("code")
        raise NotFound(text, code=code) if message.id else RequestError(text, code=code)
    return decoded(message.job, JobView) if message.type == "job" else None

"""One kept HTTP/1.1 connection to a server, as light as a client can be: so that the bench measures the server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from urllib.parse import urlsplit

from forebay.domain.record import Record

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


class Answer(Record, frozen=True, kw_only=True):
    """An answer read whole, and how long it took from the first byte sent."""

    status: int
    body: bytes
    seconds: float


class Wire:
    """Sends one request after the other."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer

    async def post(self, path: str, body: bytes) -> Answer:
        """Posts JSON."""
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        return await self._exchange(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def get(self, path: str) -> Answer:
        return await self._exchange(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())

    async def _exchange(self, request: bytes) -> Answer:
        sent = time.perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(HEAD_END)
        body = await self._reader.readexactly(_length(head))
        return Answer(status=int(head[9:12]), body=body, seconds=time.perf_counter() - sent)


@asynccontextmanager
async def wire(address: str) -> AsyncIterator[Wire]:
    """Opens a connection to ``http://host:port``; a path in it is left out."""
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Wire(parts.netloc, reader, writer)
    finally:
        writer.close()


async def median_get_ms(address: str, path: str, times: int) -> float:
    """The median of so many reads, after one that is not counted. Raises: RuntimeError: it is not answered 200."""
    async with wire(address) as line:
        answers = [await line.get(path) for _ in range(times + 1)][1:]
    if any(answer.status != 200 for answer in answers):
        raise RuntimeError(f"{path} was answered {answers[0].status}: {answers[0].body[:200]!r}")
    return median(answer.seconds for answer in answers) * 1000


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(LENGTH):
            return int(line[len(LENGTH) :])
    raise RuntimeError("the server's answer has no content-length")

"""Submissions: durable acknowledgements a second over HTTP, from as many connections as a busy client has."""

import asyncio
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from forebay.domain.record import Record

CONNECTIONS = 64
ACCEPTED = b"HTTP/1.1 202"


class SubmissionRate(Record, frozen=True, kw_only=True):
    """Acknowledgements a second, and the milliseconds from request to acknowledgement."""

    per_second: float
    p50_ms: float
    p99_ms: float


async def submissions_per_second(server: str, body: bytes, count: int) -> SubmissionRate:
    """Posts ``count`` jobs to ``/v1/jobs``. Raises: RuntimeError: one was not accepted."""
    request = _request(server, body)
    latencies: list[float] = []
    remaining = iter(range(count))
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(_connection(server, request, remaining, latencies))
    seconds = time.perf_counter() - started
    latencies.sort()
    return SubmissionRate(
        per_second=count / seconds,
        p50_ms=latencies[len(latencies) // 2] * 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1000,
    )


def _request(server: str, body: bytes) -> bytes:
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: {urlsplit(server).netloc}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _connection(server: str, request: bytes, remaining: Iterator[int], latencies: list[float]) -> None:
    parts = urlsplit(server)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        for _ in remaining:
            sent = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(ACCEPTED):
                raise RuntimeError(f"a submission was not accepted: {head[:60]!r}")
            await reader.readexactly(_length(head))
            latencies.append(time.perf_counter() - sent)
    finally:
        writer.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    raise RuntimeError("the server's answer has no content-length")

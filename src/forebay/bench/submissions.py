"""Section `submissions`: durable acknowledgements a second over HTTP, from as many connections as a busy client has."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from forebay.bench.figures import Aim, Figure
from forebay.bench.place import Place, bodies, configure, server
from forebay.bench.wire import wire
from forebay.domain.record import Record

SECTION = "submissions"
CONNECTIONS = 64
ACCEPTED = 202
PER_SECOND_AIM = 5_000.0
NOWHERE = "http://127.0.0.1:9/v1"  # nobody runs what is submitted here


class SubmissionRate(Record, frozen=True, kw_only=True):
    """Acknowledgements a second, and the milliseconds from request to acknowledgement."""

    per_second: float
    p50_ms: float
    p99_ms: float


async def measure(place: Place) -> list[Figure]:
    """Posts jobs to a server without a worker; each is acknowledged once it is on the disk."""
    rate = await acknowledged(place, configure(place.new_folder(SECTION), NOWHERE))
    name = f"acknowledged, {CONNECTIONS} connections, fsync before each"
    return [
        Figure(section=SECTION, name=name, measured=rate.per_second, unit="jobs/s", aim=Aim(at_least=PER_SECOND_AIM)),
        Figure(section=SECTION, name="p50", measured=rate.p50_ms, unit="ms"),
        Figure(section=SECTION, name="p99", measured=rate.p99_ms, unit="ms"),
    ]


async def acknowledged(place: Place, file: Path) -> SubmissionRate:
    """What a server with these settings accepts, which runs nothing."""
    job = b'{"target":"mock","body":' + bodies(1)[0] + b"}"
    count = place.sizes.submissions
    async with server(file, "--no-worker") as serving:
        await submissions_per_second(serving.address, job, count // 10)
        place.tell(f"{count:,} jobs over {CONNECTIONS} connections")
        return await submissions_per_second(serving.address, job, count)


async def submissions_per_second(address: str, body: bytes, count: int) -> SubmissionRate:
    """Posts ``count`` jobs to ``/v1/jobs``. Raises: RuntimeError: one was not accepted."""
    latencies: list[float] = []
    remaining = iter(range(count))
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(_connection(address, body, remaining, latencies))
    seconds = time.perf_counter() - started
    latencies.sort()
    return SubmissionRate(
        per_second=count / seconds,
        p50_ms=latencies[len(latencies) // 2] * 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1000,
    )


async def _connection(address: str, body: bytes, remaining: Iterator[int], latencies: list[float]) -> None:
    async with wire(address) as line:
        for _ in remaining:
            answer = await line.post("/v1/jobs", body)
            if answer.status != ACCEPTED:
                raise RuntimeError(f"a submission was not accepted: {answer.status} {answer.body[:200]!r}")
            latencies.append(answer.seconds)

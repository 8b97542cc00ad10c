"""The bare bound: a pool of tasks on an HTTP client, nothing durable: what an engine on it can reach at best."""

import asyncio
import time

from forebay.domain.record import Record
from forebay.targets.http import HttpClient

TASKS = 1024  # the number that was best on such machines
TIMEOUT_SECONDS = 60.0
HEADERS = {"content-type": "application/json"}


class Pace(Record, frozen=True, kw_only=True):
    """How fast calls or jobs went, and what this process spent on each."""

    per_second: float
    cpu_us: float


async def calls_per_second(http: HttpClient, url: str, bodies: list[bytes], tasks: int = TASKS) -> float:
    """Sends every body once from a fixed pool of tasks. Returns calls a second."""
    remaining = iter(bodies)

    async def work() -> None:
        for body in remaining:
            response = await http.post(url, HEADERS, body, TIMEOUT_SECONDS)
            if response.status != 200:
                raise RuntimeError(f"the mock model answered {response.status}")

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(tasks, len(bodies))):
            group.create_task(work())
    return len(bodies) / (time.perf_counter() - started)

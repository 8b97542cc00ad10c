"""Section `workers`: two worker processes on one SQLite file, beside one, as they drain a queue."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from forebay.app import System, open_system
from forebay.bench.engine_run import add
from forebay.bench.figures import Figure
from forebay.bench.place import Place, bodies, configure, settings_of, worker

SECTION = "workers"
LOOK_SECONDS = 0.05
REST = 0.05  # of the jobs: the last calls leave slots empty, and are not counted
FACTOR = 3  # times the jobs of the durable section: what runs before all workers are there is not counted


async def measure(place: Place) -> list[Figure]:
    """Drains the same number of queued jobs twice."""
    rates = [await _drained(place, count) for count in (1, 2)]
    one, two = rates
    return [
        Figure(
            section=SECTION,
            name="queued jobs, two worker processes",
            measured=two,
            unit="jobs/s",
            baseline=one,
            baseline_name="one process",
        )
    ]


async def _drained(place: Place, count: int) -> float:
    folder = place.new_folder(f"{SECTION}-{count}")
    jobs = place.sizes.jobs * FACTOR
    async with place.mock() as mock:
        file = configure(folder, mock.address)
        async with open_system(settings_of(file)) as system, AsyncExitStack() as stack:
            place.tell(f"{jobs:,} jobs, {count} worker{'s' if count > 1 else ''}")
            await add(system, bodies(jobs))
            await _start(stack, file, count)
            return await drain_rate(system, int(jobs * REST))


async def _start(stack: AsyncExitStack, file: Path, count: int) -> None:
    """All at once: none has a queue for itself for long."""
    await asyncio.gather(*[stack.enter_async_context(worker(file)) for _ in range(count)])


async def drain_rate(system: System, rest: int) -> float:
    """Jobs a second from now until only the rest is left. Raises: RuntimeError: too few were there to tell."""
    began, first = time.perf_counter(), await _left(system)
    if first <= 2 * rest:
        raise RuntimeError("the queue was empty before all workers had started: take more jobs")
    left = first
    while left > rest:
        await asyncio.sleep(LOOK_SECONDS)
        left = await _left(system)
    return (first - left) / (time.perf_counter() - began)


async def _left(system: System) -> int:
    return sum(depth.queued + depth.running for depth in await system.services.jobs.depths())

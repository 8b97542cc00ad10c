"""Section `scaling`: 1, 2 and 4 worker processes on one PostgreSQL and one target, which is slow.

The target's concurrency holds over all of them, so that it is set to so many calls at once for each.
"""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from forebay.app import System, open_system
from forebay.bench.engine_run import add
from forebay.bench.figures import Figure
from forebay.bench.place import Place, bodies, settings_of, worker
from forebay.stores.postgres import migrate, read_place
from forebay.testing.postgres import PostgresMissing, PostgresServer, postgres_server

SECTION = "scaling"
WORKERS = (1, 2, 4)
SLOTS = 32  # of a worker
LATENCY_MS = 200.0
START_SECONDS = 2.0  # of the workers, at most so long apart
WARM_SHARE = 0.4  # of the time: the first calls are sent together, and end together


class _Look(NamedTuple):
    at: float
    left: int


async def measure(place: Place) -> list[Figure]:
    """Nothing where there is no PostgreSQL."""
    try:
        with postgres_server(is_lasting=True) as server:
            rates = {count: await _rate(place, server, count) for count in WORKERS}
    except PostgresMissing as missing:
        place.notes.append(f"Section {SECTION} was left out: {missing}.")
        place.tell(str(missing))
        return []
    return [_figure(count, rate, rates[1]) for count, rate in rates.items()]


async def _rate(place: Place, server: PostgresServer, count: int) -> float:
    """Jobs a second that so many workers take from the queue, in the midst of their work."""
    place.tell(f"{count} worker process{'es' if count > 1 else ''} on PostgreSQL, {SLOTS} calls at once each")
    url = server.make_database(f"scaling_{count}")
    await migrate(read_place(url))
    async with place.mock(LATENCY_MS) as mock:
        file = _configure(place.new_folder(f"{SECTION}-{count}"), url, mock.address, SLOTS * count)
        async with open_system(settings_of(file)) as system, AsyncExitStack() as stack:
            seconds = place.sizes.scaling_seconds
            await add(
                system, bodies(int(SLOTS * count / LATENCY_MS * 1000 * (1 + WARM_SHARE) * (seconds + START_SECONDS)))
            )
            await asyncio.gather(*[stack.enter_async_context(worker(file)) for _ in range(count)])
            await asyncio.sleep(WARM_SHARE * seconds)
            first = await _look(system)
            await asyncio.sleep(seconds)
            last = await _look(system)
    if not last.left:
        raise RuntimeError("the queue was empty before the end: it tells no rate")
    return (first.left - last.left) / (last.at - first.at)


async def _look(system: System) -> _Look:
    left = sum(depth.queued + depth.running for depth in await system.services.jobs.depths())
    return _Look(time.perf_counter(), left)


def _configure(folder: Path, url: str, base_url: str, concurrency: int) -> Path:
    limits = {"concurrency": concurrency}
    target = {"type": "openai", "base_url": base_url, "models": ["mock"], "limits": limits}
    file = folder / "forebay.yaml"
    file.write_text(json.dumps({"store": url, "targets": {"mock": target}}))
    return file


def _figure(count: int, rate: float, one: float) -> Figure:
    return Figure(
        section=SECTION,
        name=f"{count} worker process{'es' if count > 1 else ''} on PostgreSQL",
        measured=rate,
        unit="jobs/s",
        baseline=None if count == 1 else one * count,
        baseline_name="" if count == 1 else f"{count} times one",
    )

"""Section `growth`: what a store keeps on disk when jobs come and go for ever, and what pruning costs who works then.

Rounds of jobs are added, done and pruned a round later, as with a short `result_ttl`; one job in a hundred has a body
that is a blob. After the first rounds the disk must not grow any more. In every other round nothing is pruned while it
is worked on: what a commit takes then is what pruning is judged by.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from forebay.app import System, open_system
from forebay.bench.cycle import AT_ONCE, claim_and_end, registered
from forebay.bench.database import new_store
from forebay.bench.figures import Aim, Figure
from forebay.bench.place import SQLITE_STORE, Place, bodies, configure, settings_of
from forebay.bench.submissions import NOWHERE
from forebay.domain.change import Worker
from forebay.domain.order import Order
from forebay.engine.intake import make_job
from forebay.testing.postgres import PostgresMissing, PostgresServer, postgres_server

SECTION = "growth"
SETTLED = 1 / 3  # of the rounds: from then on the disk is full of room that is used again
FLAT = 1.1  # the disk at the end beside the disk then
BESIDE = 1.5  # a median commit beside pruning, to one without
LARGE_EVERY = 100
LARGE_BYTES = 100_000  # a blob
PRUNE_AT_ONCE = 1_000
MEGABYTE = 1e6


class Home(NamedTuple):
    """A store that can say how many bytes of disk it has. ``clear``: does at once what its database does in time."""

    name: str
    store: str
    disk_bytes: Callable[[], int]
    clear: Callable[[], None]


class Grown(NamedTuple):
    """Bytes after each round; seconds of each commit that added jobs, with and without pruning beside it."""

    disk: list[int]
    beside: list[float]
    alone: list[float]


async def measure(place: Place) -> list[Figure]:
    """SQLite, and PostgreSQL where it is installed."""
    folder = place.new_folder(f"{SECTION}-sqlite")
    found = await _figures(place, Home("SQLite", SQLITE_STORE, lambda: _folder_bytes(folder), lambda: None), folder)
    try:
        with postgres_server(is_lasting=True) as server:
            home = await _on(server)
            found += await _figures(place, home, place.new_folder(f"{SECTION}-postgres"))
    except PostgresMissing as missing:
        place.notes.append(f"Section {SECTION} was left out on PostgreSQL: {missing}.")
    return found


async def _on(server: PostgresServer) -> Home:
    """Autovacuum looks once a minute, and a round here is a second: it is asked to look after each."""
    store = await new_store(server, SECTION)

    def size() -> int:
        return int(server.run("SELECT pg_database_size(current_database())", database=SECTION))

    return Home("PostgreSQL", store, size, lambda: _discard(server.run("VACUUM", database=SECTION)))


async def _figures(place: Place, home: Home, folder: Path) -> list[Figure]:
    place.tell(f"{place.sizes.growth_rounds} rounds of {place.sizes.growth_jobs:,} jobs on {home.name}")
    async with open_system(settings_of(configure(folder, NOWHERE, store=home.store))) as system:
        grown = await _grow(place, system, home)
    settled = max(1, int(len(grown.disk) * SETTLED))
    return [
        Figure(
            section=SECTION,
            name=f"disk of {home.name} after {len(grown.disk)} rounds",
            measured=grown.disk[-1] / MEGABYTE,
            unit="MB",
            baseline=grown.disk[settled] / MEGABYTE,
            baseline_name=f"after {settled + 1}",
            aim=Aim(at_most=FLAT),
        ),
        Figure(
            section=SECTION,
            name=f"median commit of added jobs beside pruning, {home.name}",
            measured=median(grown.beside) * 1000,
            unit="ms",
            baseline=median(grown.alone) * 1000,
            baseline_name="without",
            aim=Aim(at_most=BESIDE),
        ),
        Figure(
            section=SECTION,
            name=f"slowest commits (p95) beside pruning, {home.name}",
            measured=_p95(grown.beside) * 1000,
            unit="ms",
            baseline=_p95(grown.alone) * 1000,
            baseline_name="without",
        ),
    ]


async def _grow(place: Place, system: System, home: Home) -> Grown:
    grown = Grown([], [], [])
    worker = await registered(system)
    kept_since = system.services.clock.now()  # the end of the round before
    for number in range(place.sizes.growth_rounds):
        is_pruned_beside = number % 2 == 1
        seconds = grown.beside if is_pruned_beside else grown.alone
        done = asyncio.Event()
        pruning = asyncio.create_task(_prune(system, kept_since, done)) if is_pruned_beside else None
        ended_at = system.services.clock.now()
        await _work(place, system, worker, seconds)
        done.set()
        await (pruning or _prune(system, kept_since, done))
        kept_since = ended_at
        await _sweep(system)
        await asyncio.to_thread(home.clear)
        grown.disk.append(await asyncio.to_thread(home.disk_bytes))
    return grown


async def _work(place: Place, system: System, worker: Worker, seconds: list[float]) -> None:
    """A round: each commit of added jobs is timed, and as many are claimed and ended after it."""
    texts = bodies(place.sizes.growth_jobs)
    for start in range(0, len(texts), AT_ONCE):
        jobs = [
            await make_job(Order(body=_body(body, start + n), target="mock"), system.services)
            for n, body in enumerate(texts[start : start + AT_ONCE])
        ]
        began = time.perf_counter()
        await system.services.jobs.add(jobs)
        seconds.append(time.perf_counter() - began)
        await system.services.jobs.renew(worker)
        await claim_and_end(system, worker)


def _body(body: bytes, number: int) -> str:
    text = body.decode()
    return text.replace("word ", "w" * LARGE_BYTES, 1) if number % LARGE_EVERY == 0 else text


async def _prune(system: System, older_than: float, done: asyncio.Event) -> None:
    """Step by step, as maintenance does, until the round is over and nothing is left."""
    while True:
        is_over = done.is_set()
        pruned = await system.services.jobs.prune(older_than, limit=PRUNE_AT_ONCE)
        if is_over and pruned.is_complete:
            return
        if pruned.is_complete:
            await done.wait()


async def _sweep(system: System) -> None:
    """What the sweep does an hour later: nobody writes a blob now."""
    services = system.services
    ids = [blob_id async for blob_id in services.blobs.older_than(services.clock.now())]
    await services.blobs.delete(await services.jobs.orphans(ids))


def _folder_bytes(folder: Path) -> int:
    """The file with its log, and the blobs."""
    return sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(folder) for name in names)


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]


def _discard(_: str) -> None:
    """VACUUM says nothing of interest."""

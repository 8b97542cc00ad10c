"""Section `postgres`: the figures of one machine again on PostgreSQL, beside SQLite; claims; the price of a long queue
and of another session's open transaction. The server is a private one that waits for the disk.
"""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path

from forebay.app import open_system
from forebay.bench import postgres_costs
from forebay.bench.child import Child, child
from forebay.bench.cycle import AT_ONCE, READY
from forebay.bench.database import new_store
from forebay.bench.durable import Run, bare_pool, default_clients, in_turns
from forebay.bench.engine_run import add, jobs_per_second
from forebay.bench.figures import Figure
from forebay.bench.place import SQLITE_STORE, Place, bodies, configure, settings_of
from forebay.bench.submissions import NOWHERE, acknowledged
from forebay.bench.workers import drain_rate
from forebay.testing.postgres import PostgresMissing, PostgresServer, postgres_server

SECTION = "postgres"
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
CLAIMERS = (1, 4)
JOBS_A_CLAIMER = 2  # times the jobs of the durable section
REST = 0.1  # of the jobs, when claimers find less than they ask for


async def measure(place: Place) -> list[Figure]:
    """Nothing where PostgreSQL is not installed, which the report says."""
    try:
        with postgres_server(is_lasting=True) as server:
            return [
                *await _durable(place, server),
                *await _submissions(place, server),
                *await _claims(place, server),
                *await postgres_costs.measure(place, server, SECTION),
            ]
    except PostgresMissing as missing:
        place.notes.append(f"Section {SECTION} was left out: {missing}.")
        place.tell(str(missing))
        return []


async def _durable(place: Place, server: PostgresServer) -> list[Figure]:
    """Two engines and the bare pool take turns."""
    async with place.mock() as mock, AsyncExitStack() as stack:
        name, client = next(iter(default_clients().items()))
        stack.push_async_callback(client.close)
        pool = f"{name}, nothing durable"
        runs: dict[str, Run] = {pool: bare_pool(client, f"{mock.address}/chat/completions")}
        stores = {SQLITE: SQLITE_STORE, POSTGRES: await new_store(server, "durable")}
        for store, url in stores.items():
            file = configure(place.new_folder(f"durable-{store}"), mock.address, store=url)
            system = await stack.enter_async_context(open_system(settings_of(file)))
            runs[store] = partial(jobs_per_second, system)
        paces = await in_turns(runs, place)
    own = paces[POSTGRES]
    return [
        _figure("durable jobs", own.per_second, "jobs/s", (paces[other].per_second, other)) for other in (SQLITE, pool)
    ] + [_figure("CPU of this process a job", own.cpu_us, "µs", (paces[SQLITE].cpu_us, SQLITE))]


async def _submissions(place: Place, server: PostgresServer) -> list[Figure]:
    stores = {SQLITE: SQLITE_STORE, POSTGRES: await new_store(server, "submissions")}
    rates = {
        store: await acknowledged(place, configure(place.new_folder(f"submissions-{store}"), NOWHERE, store=url))
        for store, url in stores.items()
    }
    own, other = rates[POSTGRES], rates[SQLITE]
    return [
        _figure("acknowledged over HTTP", own.per_second, "jobs/s", (other.per_second, SQLITE)),
        _figure("acknowledgement, p99", own.p99_ms, "ms", (other.p99_ms, SQLITE)),
    ]


async def _claims(place: Place, server: PostgresServer) -> list[Figure]:
    """Whole cycles of claimers in processes of their own, which nothing but the store holds up."""
    rates = {count: await _claimed(place, server, count) for count in CLAIMERS}
    one, many = CLAIMERS
    return [
        _figure(f"claimed, begun and ended by one process, {AT_ONCE} at once", rates[one], "jobs/s"),
        _figure(f"likewise, {many} processes", rates[many], "jobs/s", (rates[one], "one process")),
    ]


async def _claimed(place: Place, server: PostgresServer, count: int) -> float:
    file = configure(place.new_folder(f"claims-{count}"), NOWHERE, store=await new_store(server, f"claims_{count}"))
    jobs = place.sizes.jobs * JOBS_A_CLAIMER * count
    place.tell(f"{jobs:,} jobs, {count} claimer{'s' if count > 1 else ''}")
    async with open_system(settings_of(file)) as system, AsyncExitStack() as stack:
        await add(system, bodies(jobs))
        await asyncio.gather(*[stack.enter_async_context(_claimer(file)) for _ in range(count)])
        return await drain_rate(system, int(jobs * REST))


def _claimer(file: Path) -> AbstractAsyncContextManager[Child]:
    return child(sys.executable, "-m", "forebay.bench.cycle", str(file), ready=READY)


def _figure(name: str, measured: float, unit: str, beside: tuple[float, str] | None = None) -> Figure:
    baseline, baseline_name = beside or (None, "")
    return Figure(
        section=SECTION,
        name=f"{name}, on {POSTGRES}",
        measured=measured,
        unit=unit,
        baseline=baseline,
        baseline_name=baseline_name,
    )

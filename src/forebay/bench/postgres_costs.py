"""What a job costs PostgreSQL and its client beside a long queue, and while another session holds a transaction open.

Three stores on one server are worked on by turns: a short queue, a long one, and a short one in whose database a
transaction keeps a snapshot from the first job to the last. Halfway all are vacuumed and analysed: then the tables that
jobs pass through seem empty to the planner, and are full of dead rows where the snapshot keeps them.
"""

import time
from contextlib import AsyncExitStack
from statistics import median
from typing import NamedTuple

from forebay.app import System, open_system
from forebay.bench.cycle import AT_ONCE, claim_and_end, registered
from forebay.bench.database import held_transaction, new_store
from forebay.bench.engine_run import add
from forebay.bench.figures import Aim, Figure
from forebay.bench.place import MICROSECONDS, Place, bodies, configure, settings_of
from forebay.bench.submissions import NOWHERE
from forebay.bench.usage import can_look, family_seconds, thread_seconds
from forebay.testing.postgres import PostgresServer

CLIENT_THREAD = "forebay-postgres"
FLAT = 1.2  # a job may cost so many times what one costs beside the short queue
HELD = "a transaction held open, and an ANALYZE meanwhile"
ANALYSE = "VACUUM ANALYZE"
ROUND_JOBS = 2_000
TOLD = 0.5  # of the rounds: the later ones, whose medians are told
SLICE = 10_000  # bodies in memory at one time


class Cost(NamedTuple):
    """µs of one job from `add` to its end: CPU of the store's thread here, CPU of the server, and both by the clock."""

    client: float
    server: float
    wall: float


UNITS = {"client": "CPU of the client a job", "server": "CPU of the server a job", "wall": "time of a job"}


async def measure(place: Place, server: PostgresServer, section: str) -> list[Figure]:
    """Figures of the long queue and of the held transaction, each beside the short queue's."""
    if not can_look():
        return []
    short, long = place.sizes.backlog_baseline, place.sizes.postgres_backlog
    names = {"short": f"{short:,} queued", "long": f"{long:,} queued", "held": HELD}
    async with AsyncExitStack() as stack:
        systems: dict[str, System] = {}
        for name in names:
            file = configure(place.new_folder(f"costs-{name}"), NOWHERE, store=await new_store(server, f"costs_{name}"))
            systems[name] = await stack.enter_async_context(open_system(settings_of(file)))
            await _fill(place, systems[name], long if name == "long" else short)
            server.run(ANALYSE, database=f"costs_{name}")
        await stack.enter_async_context(held_transaction(server.url("costs_held")))
        costs = await _by_turns(place, server, systems)
    return [
        Figure(
            section=section,
            name=f"{what}, {names[name]}",
            measured=getattr(costs[name], field),
            unit="µs",
            baseline=getattr(costs["short"], field),
            baseline_name=names["short"],
            aim=Aim(at_most=FLAT) if field != "wall" else None,
        )
        for name in ("long", "held")
        for field, what in UNITS.items()
    ]


async def _fill(place: Place, system: System, count: int) -> None:
    place.tell(f"{count:,} jobs are queued")
    for start in range(0, count, SLICE):
        await add(system, bodies(min(SLICE, count - start)))


async def _by_turns(place: Place, server: PostgresServer, systems: dict[str, System]) -> dict[str, Cost]:
    found: dict[str, list[Cost]] = {name: [] for name in systems}
    rounds = place.sizes.postgres_rounds
    for turn in range(rounds):
        place.tell(f"round {turn + 1} of {rounds}: {ROUND_JOBS:,} jobs through each store")
        for name, system in systems.items():
            if turn == rounds // 2:
                server.run(ANALYSE, database=f"costs_{name}")
            found[name].append(await _cost(system, server.pid))
    told = max(1, int(rounds * TOLD))
    return {
        name: Cost(*(median(values) for values in zip(*costs[-told:], strict=True))) for name, costs in found.items()
    }


async def _cost(system: System, server_pid: int) -> Cost:
    """Adds jobs, then claims and ends as many: the queue is as long as before."""
    worker = await registered(system)
    texts = bodies(ROUND_JOBS)
    client, family, began = _client_seconds(), family_seconds(server_pid), time.perf_counter()
    await add(system, texts)
    ended = sum([await claim_and_end(system, worker) for _ in range(ROUND_JOBS // AT_ONCE)])
    wall = time.perf_counter() - began
    spent = family_seconds(server_pid)
    if ended != ROUND_JOBS:
        raise RuntimeError(f"{ended} of {ROUND_JOBS} jobs were claimed")
    await system.services.jobs.retire(worker)
    in_server = sum(seconds - family.get(pid, 0.0) for pid, seconds in spent.items())
    seconds = (_client_seconds() - client, in_server, wall)
    return Cost(*(one / ROUND_JOBS * MICROSECONDS for one in seconds))


def _client_seconds() -> float:
    return sum(seconds for name, seconds in thread_seconds().items() if name.startswith(CLIENT_THREAD))

"""Section `backlog`: what jobs cost beside a long queue, and beside a short one, by the CPU of the store's thread."""

import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from forebay.app import System, open_system
from forebay.bench.engine_run import add
from forebay.bench.figures import Aim, Figure
from forebay.bench.place import MICROSECONDS, Place, bodies, configure, server, settings_of
from forebay.bench.submissions import NOWHERE
from forebay.bench.usage import can_look, thread_seconds
from forebay.bench.wire import median_get_ms
from forebay.domain.change import Change, Want, Worker
from forebay.domain.job import Status
from forebay.domain.lane import target_queue
from forebay.domain.record import Record

SECTION = "backlog"
STORE_THREAD = "forebay-sqlite"
FLAT = 1 / 0.9  # a job beside the long queue may cost so many times one beside the short
QUERY_FLAT = 1.25  # likewise a query, whose time is told by a clock
CLAIMED = 2_000  # of one round
CLAIM_AT_ONCE = 250
ROUNDS = 5
QUERIES = 20
OPENINGS = 3
SLICE = 10_000  # bodies in memory at one time
PATHS = {"list of jobs, 100 a page": "/v1/jobs?limit=100", "metrics": "/metrics", "targets": "/v1/targets"}


class Pair(NamedTuple):
    """One store, opened twice: who claims has nothing in hand of what the other has added."""

    server: System
    worker: System


class Costs(Record, frozen=True, kw_only=True):
    """CPU µs a job on the store's thread."""

    add_us: float
    claim_us: float


async def measure(place: Place) -> list[Figure]:
    """Fills two stores, then works on them by turns; afterwards a server answers from each."""
    if not can_look():
        return []
    counts = {"long": place.sizes.backlog, "short": place.sizes.backlog_baseline}
    files = {name: configure(place.new_folder(f"{SECTION}-{name}"), NOWHERE) for name in counts}
    async with AsyncExitStack() as stack:
        pairs = {}
        for name, count in counts.items():
            place.tell(f"{count:,} jobs are queued")
            server_side = await stack.enter_async_context(open_system(settings_of(files[name])))
            worker_side = await stack.enter_async_context(open_system(settings_of(files[name])))
            pairs[name] = Pair(server_side, worker_side)
            await _fill(server_side, count)
        place.tell("adding and claiming by turns")
        costs = await _by_turns(pairs)
    figures = [
        _figure(counts, "CPU of an add", "µs", {name: cost.add_us for name, cost in costs.items()}, FLAT),
        _figure(counts, "CPU of a claim", "µs", {name: cost.claim_us for name, cost in costs.items()}, FLAT),
    ]
    queries: dict[str, dict[str, float]] = {}
    for name, file in files.items():
        place.tell(f"queries beside the {name} queue")
        for path, milliseconds in (await _queries(file)).items():
            queries.setdefault(path, {})[name] = milliseconds
    figures += [_figure(counts, path, "ms", found, QUERY_FLAT) for path, found in queries.items()]
    return figures


def _figure(counts: dict[str, int], name: str, unit: str, found: dict[str, float], flat: float) -> Figure:
    return Figure(
        section=SECTION,
        name=f"{name}, {counts['long']:,} queued",
        measured=found["long"],
        unit=unit,
        baseline=found["short"],
        baseline_name=f"{counts['short']:,} queued",
        aim=Aim(at_most=flat),
    )


async def _fill(system: System, count: int) -> None:
    for start in range(0, count, SLICE):
        await add(system, bodies(min(SLICE, count - start)))


async def _by_turns(pairs: dict[str, Pair]) -> dict[str, Costs]:
    found: dict[str, list[Costs]] = {name: [] for name in pairs}
    for turn in range(ROUNDS + 1):
        for name, pair in pairs.items():
            costs = await _costs(pair)
            if turn:  # the first opens pages
                found[name].append(costs)
    return {
        name: Costs(add_us=median(cost.add_us for cost in each), claim_us=median(cost.claim_us for cost in each))
        for name, each in found.items()
    }


async def _costs(pair: Pair) -> Costs:
    """Adds jobs, claims as many, and ends what was claimed: the queue is as long as before."""
    texts = bodies(CLAIMED)
    began = _store_seconds()
    await add(pair.server, texts)
    added = _store_seconds()
    jobs = pair.worker.services.jobs
    claimer = Worker(id=pair.worker.services.ids.new("worker"), queues=(target_queue("mock"),))
    await jobs.renew(claimer)
    want = Want(queue=target_queue("mock"), lane="mock", slots=CLAIM_AT_ONCE)
    before = _store_seconds()
    claimed = [one for _ in range(CLAIMED // CLAIM_AT_ONCE) for one in await jobs.claim(claimer, [want])]
    after = _store_seconds()
    await jobs.apply([Change(job_id=one.job.id, fence=one.fence, status=Status.CANCELLED) for one in claimed])
    await jobs.retire(claimer)
    if len(claimed) != CLAIMED:
        raise RuntimeError(f"{len(claimed)} of {CLAIMED} jobs were claimed")
    return Costs(add_us=(added - began) / CLAIMED * MICROSECONDS, claim_us=(after - before) / CLAIMED * MICROSECONDS)


def _store_seconds() -> float:
    return sum(seconds for name, seconds in thread_seconds().items() if name.startswith(STORE_THREAD))


async def _queries(file: Path) -> dict[str, float]:
    """Medians in milliseconds, of opening the store and of what a console asks a server for."""
    found = {"opening the store": median([await _opening_ms(file) for _ in range(OPENINGS)])}
    async with server(file, "--no-worker") as serving:
        for name, path in PATHS.items():
            found[name] = await median_get_ms(serving.address, path, QUERIES)
    return found


async def _opening_ms(file: Path) -> float:
    began = time.perf_counter()
    async with open_system(settings_of(file)):
        return (time.perf_counter() - began) * 1000

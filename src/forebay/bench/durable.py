"""Section `durable`: jobs a second through the whole engine in one process, beside the bare pool on the same client."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from statistics import median

from forebay.app import open_system
from forebay.bench.engine_run import jobs_per_second
from forebay.bench.figures import Aim, Figure
from forebay.bench.place import MICROSECONDS, SLOTS, Place, bodies, configure, settings_of
from forebay.bench.pool import Pace, calls_per_second
from forebay.targets.clients import DEFAULT_LIBRARY, HttpLibrary, open_http
from forebay.targets.http import HttpClient

SECTION = "durable"
RATIO_AIM = 0.75
WARMING = 2 * SLOTS  # calls before a measurement: they open the connections

Run = Callable[[list[bytes]], Awaitable[float]]


async def measure(place: Place) -> list[Figure]:
    """Takes turns, so that what else the machine does falls on all alike; the medians are told."""
    runs: dict[str, Run] = {}
    async with place.mock() as mock, AsyncExitStack() as stack:
        url = f"{mock.address}/chat/completions"
        for name, client in default_clients().items():
            stack.push_async_callback(client.close)
            runs[name] = bare_pool(client, url)
        file = configure(place.new_folder(SECTION), mock.address)
        system = await stack.enter_async_context(open_system(settings_of(file)))
        runs[SECTION] = lambda texts: jobs_per_second(system, texts)
        paces = await in_turns(runs, place)
    return _figures(paces)


def default_clients() -> dict[str, HttpClient]:
    """The client that targets use first, and aiohttp, by their names."""
    names = dict.fromkeys((DEFAULT_LIBRARY, HttpLibrary.AIOHTTP))
    return {name.value: open_http(name) for name in names}


async def in_turns(runs: dict[str, Run], place: Place) -> dict[str, Pace]:
    """The median pace of each run, which take turns."""
    texts = bodies(place.sizes.jobs)
    found: dict[str, list[Pace]] = {name: [] for name in runs}
    for run in runs.values():
        await run(texts[:WARMING])
    for turn in range(place.sizes.rounds):
        for name, run in runs.items():
            place.tell(f"{name}, round {turn + 1} of {place.sizes.rounds}: {len(texts):,} calls")
            began = time.process_time()
            per_second = await run(texts)
            cpu_us = (time.process_time() - began) / len(texts) * MICROSECONDS
            found[name].append(Pace(per_second=per_second, cpu_us=cpu_us))
    return {
        name: Pace(per_second=median(pace.per_second for pace in paces), cpu_us=median(pace.cpu_us for pace in paces))
        for name, paces in found.items()
    }


def bare_pool(client: HttpClient, url: str) -> Run:
    """Every body once, by nothing but the client."""
    return lambda texts: calls_per_second(client, url, texts)


def _figures(paces: dict[str, Pace]) -> list[Figure]:
    durable = paces.pop(SECTION)
    figures = []
    for place, (name, bare) in enumerate(paces.items()):
        figures.append(
            Figure(
                section=SECTION,
                name="durable jobs beside a bare pool",
                measured=durable.per_second,
                unit="jobs/s",
                baseline=bare.per_second,
                baseline_name=f"{name}, nothing durable",
                aim=Aim(at_least=RATIO_AIM if place == 0 else 1.0),
            )
        )
        figures.append(
            Figure(
                section=SECTION,
                name="CPU a job beside a bare call",
                measured=durable.cpu_us,
                unit="µs",
                baseline=bare.cpu_us,
                baseline_name=f"{name}, nothing durable",
            )
        )
    return figures

"""Section `fanouts`: fan-outs a second at several widths, and what one costs the engine beside its branches as jobs."""

import asyncio
import time

from forebay.app import System, open_system
from forebay.bench.engine_run import ADD_AT_ONCE, LOOK_SECONDS, jobs_per_second
from forebay.bench.figures import Figure
from forebay.bench.place import MICROSECONDS, Place, bodies, configure, settings_of
from forebay.domain.fanout import Branch, FanoutArgs
from forebay.domain.job import LIVE, Status
from forebay.domain.order import Order
from forebay.domain.query import JobQuery
from forebay.engine.fanouts import make_fanout

SECTION = "fanouts"
WIDTHS = (1, 5, 50)
WARMING = 200


async def measure(place: Place) -> list[Figure]:
    """At each width as many branches as there are jobs, once as fan-outs and once as jobs of their own."""
    figures: list[Figure] = []
    async with place.mock() as mock:
        for width in WIDTHS:
            folder = place.new_folder(f"{SECTION}-{width}")
            async with open_system(settings_of(configure(folder, mock.address))) as system:
                figures += await _at_width(width, system, place)
    return figures


async def _at_width(width: int, system: System, place: Place) -> list[Figure]:
    texts = bodies(place.sizes.fanout_branches)
    await jobs_per_second(system, texts[:WARMING])
    count = len(texts) // width
    place.tell(f"{count:,} fan-outs of {width}, and {len(texts):,} jobs")
    began, cpu = time.perf_counter(), time.process_time()
    await _run(width, texts[:count], system)
    seconds, fanned_us = time.perf_counter() - began, (time.process_time() - cpu) * MICROSECONDS
    cpu = time.process_time()
    await jobs_per_second(system, texts)
    alone_us = (time.process_time() - cpu) * MICROSECONDS
    name = f"fan-outs of {width}"
    return [
        Figure(section=SECTION, name=name, measured=count / seconds, unit="a second"),
        Figure(
            section=SECTION,
            name=f"CPU of {name}, beside their branches as jobs",
            measured=fanned_us / count,
            unit="µs",
            baseline=alone_us / count,
            baseline_name=f"{width} jobs",
        ),
    ]


async def _run(width: int, texts: list[bytes], system: System) -> None:
    branches = tuple(Branch(name=f"b{number}", target="mock") for number in range(width))
    services = system.services
    async with system.worker():
        for start in range(0, len(texts), ADD_AT_ONCE):
            orders = [
                Order(body=text.decode(), fanout=FanoutArgs(branches=branches))
                for text in texts[start : start + ADD_AT_ONCE]
            ]
            await services.jobs.add([await make_fanout(order, services) for order in orders])
        while await services.jobs.find(JobQuery(tenant=None, statuses=LIVE, limit=1)):
            await asyncio.sleep(LOOK_SECONDS)
    failed = frozenset({Status.FAILED, Status.CANCELLED})
    if found := await services.jobs.find(JobQuery(tenant=None, statuses=failed, limit=1)):
        raise RuntimeError(f"a fan-out of the bench failed: {found[0].error}")

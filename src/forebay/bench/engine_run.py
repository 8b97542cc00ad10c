"""The same calls as durable jobs: added, claimed, written to the ledger, called, recorded, with every feature on."""

import asyncio
import time

from forebay.app import System
from forebay.domain.job import Status
from forebay.domain.order import Order
from forebay.domain.query import JobQuery
from forebay.engine.intake import make_job

ADD_AT_ONCE = 500
LOOK_SECONDS = 0.02


async def jobs_per_second(system: System, bodies: list[bytes]) -> float:
    """Submits every body as a job to a running worker and waits for the last. Returns jobs a second, end to end."""
    started = time.perf_counter()
    async with system.worker():
        await add(system, bodies)
        while await _live(system):
            await asyncio.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - started
    failed = await system.services.jobs.find(
        JobQuery(tenant=None, statuses=frozenset({Status.FAILED, Status.CANCELLED}), limit=1)
    )
    if failed:
        raise RuntimeError(f"a job of the bench failed: {failed[0].error}")
    return len(bodies) / seconds


async def add(system: System, bodies: list[bytes]) -> None:
    """Submits every body, some hundreds in one commit."""
    for start in range(0, len(bodies), ADD_AT_ONCE):
        texts = [body.decode() for body in bodies[start : start + ADD_AT_ONCE]]
        jobs = [await make_job(Order(body=text, target="mock"), system.services) for text in texts]
        await system.services.jobs.add(jobs)


async def _live(system: System) -> bool:
    return any(depth.queued or depth.running for depth in await system.services.jobs.depths())

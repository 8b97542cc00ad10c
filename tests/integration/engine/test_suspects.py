"""Suspects, jobs that twice took their worker down with them, are run alone wherever they stand."""

import pytest

from forebay.domain.attempt import Attempt
from forebay.domain.change import Want, Worker
from forebay.domain.job import Status
from forebay.domain.lane import route_queue, target_queue
from forebay.domain.target import Limits, Route, RouteEntry
from forebay.engine.suspects import PAUSE_SECONDS
from forebay.testing.targets import ScriptedTarget

from .conftest import Engine, OpenEngine

LEASE_SECONDS = 5.0


@pytest.mark.parametrize(("queue", "fields"), [(target_queue("t"), {}), (route_queue("r"), {"target": "r"})])
async def test_a_suspect_is_run_although_its_lane_has_one_slot_for_two_queues(
    open_engine: OpenEngine, queue: str, fields: dict[str, str]
) -> None:
    routes = (Route(name="r", entries=(RouteEntry(target="t"),)),)
    engine = await open_engine(ScriptedTarget("t"), limits=Limits(concurrency=1), routes=routes)
    job_id = await engine.submit(**fields)
    await two_workers_die(engine, queue)
    worker = await engine.worker()
    for _ in range(4):
        worker._on_recovered(await engine.services.jobs.recover())
        await worker.run_until_idle()
        engine.clock.advance(PAUSE_SECONDS)
    assert (await engine.get(job_id)).status is Status.SUCCEEDED


async def two_workers_die(engine: Engine, queue: str) -> None:
    jobs = engine.services.jobs
    for number in (1, 2):
        worker = Worker(id=f"worker_{number}", queues=(queue,), lease_seconds=LEASE_SECONDS)
        await jobs.renew(worker)
        [claimed] = await jobs.claim(worker, [Want(queue=queue, lane="t", slots=1)])
        attempt = Attempt(
            job_id=claimed.job.id, number=number, fence=claimed.fence, target="t", started_at=engine.clock.now()
        )
        await jobs.begin([attempt])
        engine.clock.advance(2 * LEASE_SECONDS)
        await jobs.recover()

"""A tenant with one job beside another's long batch: how many of the other's lines go before it, counted, not timed."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from forebay.domain.batch import BatchArgs
from forebay.domain.order import Order
from forebay.domain.tenant import TenantSpec
from forebay.engine.handlers.batch import BatchOrder, make_batch
from forebay.engine.intake import make_job
from forebay.policy.window import SMALLEST
from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services
from forebay.testing.targets import ScriptedTarget
from tests.unit.batch.driver import CHAT, MODEL, QUEUE, TARGET, Driver, requests

LINES = 200 * SMALLEST
SLOTS = 8
TENANTS = {"light": TenantSpec(weight=1.0), "heavy": TenantSpec(weight=3.0)}
BODY = f'{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "hello"}}]}}'


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    async with open_services(tmp_path, [ScriptedTarget(TARGET)], clock=FakeClock()) as services:
        yield Driver(replace(services, tenants=TENANTS))


async def add_batch(driver: Driver, tenant: str) -> None:
    """A batch that has sent its first window."""

    async def pieces() -> AsyncIterator[bytes]:
        yield requests(LINES)

    blob = await driver.services.blobs.write(pieces())
    args = BatchArgs(input_file_id="file-in", input_blob_id=blob.id, endpoint=CHAT)
    order = BatchOrder(args=args, lifespan_seconds=86_400.0)
    await driver.services.jobs.add([await make_batch(order, driver.services, tenant=tenant)])
    await driver.services.jobs.renew(driver.worker)
    while await driver.step_batch():
        pass


async def add_one(driver: Driver, tenant: str) -> str:
    job = await make_job(Order(body=BODY, endpoint=CHAT), driver.services, tenant=tenant)
    await driver.services.jobs.add([job])
    return job.id


async def test_one_job_waits_behind_a_few_lines_of_anothers_long_batch(driver: Driver) -> None:
    await add_batch(driver, "many")
    for _ in range(5):
        await driver.answer_lines(SLOTS)
    job_id = await add_one(driver, "one")
    before = 0
    while [one.job.id for one in await driver.claim(QUEUE, 1)] != [job_id]:
        before += 1
    print("BEFORE", before)


async def test_every_refill_of_the_batch_goes_behind_whoever_waits(driver: Driver) -> None:
    await add_batch(driver, "many")
    for _ in range(12):
        await driver.answer_lines(SMALLEST // 2)
        job_id = await add_one(driver, "one")
        while await driver.step_batch():
            pass
        claimed = await driver.claim(QUEUE, 3)
        assert job_id in {one.job.id for one in claimed}


async def test_batches_share_a_lane_by_the_weights_of_their_tenants(driver: Driver) -> None:
    for tenant in ("light", "heavy"):
        await add_batch(driver, tenant)
    claimed = Counter(one.job.tenant for one in await driver.claim(QUEUE, 200))
    assert abs(claimed["heavy"] - 150) <= 2

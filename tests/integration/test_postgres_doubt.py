"""A commit whose reply is lost: no verb runs twice, none that was done is called failed, and no lease is forgotten."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from forebay.domain.attempt import Outcome
from forebay.domain.change import Verdict, Want
from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Job, Status
from forebay.ports import Clock
from forebay.stores.postgres import PostgresStore, open_store
from forebay.stores.postgres.statements import statements
from forebay.testing.conformance.world import LANE, QUEUE, World, opened
from forebay.testing.cutting import CuttingProxy, Fate
from tests.integration.postgres_house import empty_place, server

COMMIT = b"COMMIT\0"


@pytest.fixture
async def proxy() -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(server().port) as proxy:
        yield proxy


@pytest.fixture
async def world(proxy: CuttingProxy) -> AsyncIterator[World]:
    await empty_place(server().url())

    async def open_it(clock: Clock) -> PostgresStore:
        return await open_store(server().url(port=proxy.port) + "?timeout=4&listen=off", clock=clock)

    async with opened(open_it) as world:
        yield world


class Once:
    """Deals so with the next durable transaction that has written something, and lets everything else pass."""

    def __init__(self, fate: Fate, table: bytes) -> None:
        self._fate = fate
        self._table = table
        self._is_near = False
        self.times = 0

    def __call__(self, data: bytes) -> Fate:
        self._is_near = self._is_near or self._table in data
        if self.times or not self._is_near or COMMIT not in data:
            return Fate.PASS
        self.times += 1
        return self._fate


@pytest.mark.parametrize("fate", [Fate.LOSE_REPLY, Fate.LOSE])
async def test_an_add_in_doubt_is_answered_as_new_and_adds_one_job(
    world: World, proxy: CuttingProxy, fate: Fate
) -> None:
    proxy.judge = once = Once(fate, b"INSERT INTO jobs")
    job = world.make(key="k")
    [added] = await world.jobs.add([job])
    assert (added.id, added.is_new, once.times) == (job.id, True, 1)
    assert await world.status(job.id) == Status.QUEUED
    assert len(await world.claim()) == 1


@pytest.mark.parametrize("fate", [Fate.LOSE_REPLY, Fate.LOSE])
async def test_a_claim_in_doubt_is_answered_with_the_leases_it_made(
    world: World, proxy: CuttingProxy, fate: Fate
) -> None:
    worker = await world.worker()
    await world.jobs.add([world.make() for _ in range(3)])
    proxy.judge = once = Once(fate, b"INSERT INTO leases")
    claimed = await world.jobs.claim(worker, [Want(queue=QUEUE, lane=LANE, slots=10)])
    assert (len(claimed), once.times) == (3, 1)
    for one in claimed:
        await world.begin(one)
        await world.answer(one)


@pytest.mark.parametrize("fate", [Fate.LOSE_REPLY, Fate.LOSE])
async def test_an_answer_in_doubt_is_applied_once(world: World, proxy: CuttingProxy, fate: Fate) -> None:
    job = await world.add()
    claimed = await world.take()
    await world.begin(claimed)
    proxy.judge = once = Once(fate, b"UPDATE jobs SET")
    assert await world.jobs.apply([world.change(claimed, attempts_used=1)]) == [Verdict.APPLIED]
    row = await world.row(job.id)
    assert (row.status, row.attempts_used, once.times) == (Status.SUCCEEDED, 1, 1)


async def test_leases_of_a_claim_that_stayed_in_doubt_are_handed_back(world: World, proxy: CuttingProxy) -> None:
    worker = await world.worker()
    job = await world.add()

    class LoseAndCut(Once):
        def __call__(self, data: bytes) -> Fate:
            fate = super().__call__(data)
            if fate is Fate.LOSE_REPLY:
                proxy.cut_new()
            return fate

    proxy.judge = LoseAndCut(Fate.LOSE_REPLY, b"INSERT INTO leases")
    want = [Want(queue=QUEUE, lane=LANE, slots=10)]
    with pytest.raises(StoreUnavailable):
        await world.jobs.claim(worker, want)
    await proxy.mend()
    [claimed] = await world.jobs.claim(worker, want)  # the heartbeat would keep the forgotten lease alive for ever
    assert claimed.job.id == job.id
    await world.answer(claimed)
    assert await world.status(job.id) == Status.SUCCEEDED


async def test_a_job_added_again_after_a_doubt_that_stayed_is_the_same_job(world: World, proxy: CuttingProxy) -> None:
    class LoseAndCut(Once):
        def __call__(self, data: bytes) -> Fate:
            fate = super().__call__(data)
            if fate is Fate.LOSE_REPLY:
                proxy.cut_new()
            return fate

    proxy.judge = LoseAndCut(Fate.LOSE_REPLY, b"INSERT INTO jobs")
    job: Job = world.make()
    with pytest.raises(StoreUnavailable):
        await world.jobs.add([job])
    await proxy.mend()
    [added] = await world.jobs.add([job])
    assert added.id == job.id
    assert len(await world.claim()) == 1


async def test_the_end_of_a_call_waits_for_its_begin_that_is_still_under_way(world: World) -> None:
    """The begin's verb has given up; the server has not, as where a standby's answer to the commit is outstanding."""
    job = await world.add()
    claimed = await world.take()
    attempt = world.attempt(claimed)
    begin = statements()["begin.insert"]
    slow = await asyncpg.connect(server().url())
    try:
        begun = slow.transaction()
        await begun.start()
        columns = (attempt.job_id, attempt.number, attempt.fence, attempt.target, attempt.started_at, attempt.model)
        await slow.execute(begin, *([column] for column in columns))
        unsent = world.completed(attempt, Outcome.CANCELLED)
        back = asyncio.create_task(world.jobs.apply([world.change(claimed, Status.QUEUED, attempts=(unsent,))]))
        async with asyncio.timeout(60):
            while not await slow.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
        await begun.commit()
    finally:
        await slow.close()
    assert await back == [Verdict.APPLIED]
    assert await world.ledger(job.id) == (unsent,)

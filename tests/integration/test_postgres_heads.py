"""Claims that begin where they had come to find everything all the same: at once what enters by its rank or urgency,
soon what slipped in below.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from forebay.domain.job import Status
from forebay.ports import Clock
from forebay.stores.postgres import PostgresStore
from forebay.stores.postgres.heads import LAG_SECONDS, WHOLE_SECONDS, Heads
from forebay.stores.postgres.jobs import PostgresJobs
from forebay.stores.postgres.opening import never_gone
from forebay.testing.conformance.world import World, opened
from tests.integration.postgres_house import empty_place, opened_at, server


@dataclass
class Watch:
    """A monotonic clock that stands still until it is told to go on."""

    seconds: float = 0.0

    def now(self) -> float:
        return self.seconds


@dataclass
class Shop:
    """A world whose claims have claimed before, and begin behind that until the whole queue is looked at again."""

    world: World
    watch: Watch

    async def begin(self) -> None:
        await self.world.add()
        await self.world.answer(await self.world.take())
        self.watch.seconds += LAG_SECONDS

    async def slip_below(self) -> str:
        """A job that took its rank long ago and was committed now."""
        job = await self.world.add()
        connection: Any = await asyncpg.connect(server().url())
        await connection.execute(f"UPDATE forebay.ready SET rank = 0 WHERE job_id = '{job.id}'")
        await connection.close()
        return job.id

    async def claimed(self) -> list[str]:
        return [one.job.id for one in await self.world.claim()]


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    place = await empty_place(server().url())
    watch = Watch()

    async def open_it(clock: Clock) -> PostgresStore:
        store = await opened_at(place, clock)
        store.jobs = PostgresJobs(store.backend, never_gone, Heads(watch.now))
        return store

    async with opened(open_it) as world:
        shop = Shop(world, watch)
        await shop.begin()
        yield shop


async def test_a_job_that_slipped_in_below_is_claimed_with_the_next_look_at_the_whole_queue(shop: Shop) -> None:
    job_id = await shop.slip_below()
    assert await shop.claimed() == []  # it does begin behind it
    shop.watch.seconds += WHOLE_SECONDS - LAG_SECONDS
    assert await shop.claimed() == [job_id]


async def test_awaited_urgent_and_patient_jobs_are_claimed_at_once_and_in_order(shop: Shop) -> None:
    jobs = [await shop.world.add(**fields) for fields in ({"priority": -7}, {}, {"priority": 7}, {"awaited": True})]
    assert await shop.claimed() == [job.id for job in reversed(jobs)]


async def test_another_tenants_first_job_is_claimed_at_once(shop: Shop) -> None:
    for _ in range(3):
        await shop.world.add()
        await shop.world.answer(await shop.world.take())
    job = await shop.world.add(tenant="newcomer")
    assert await shop.claimed() == [job.id]


async def test_a_job_that_was_handed_back_is_claimed_at_once(shop: Shop) -> None:
    job = await shop.world.add()
    await shop.world.answer(await shop.world.take(), Status.QUEUED)
    assert await shop.claimed() == [job.id]


async def test_a_lanes_leases_are_all_counted_though_claims_begin_at_the_oldest(shop: Shop) -> None:
    world = shop.world
    jobs = [await world.add() for _ in range(6)]
    held = [*await world.claim(slots=2, cap=3), *await world.claim("worker-2", slots=2, cap=3)]
    assert [one.job.id for one in held] == [job.id for job in jobs[:3]]
    await world.answer(held[0])
    shop.watch.seconds += LAG_SECONDS / 2
    held += await world.claim(slots=9, cap=3)
    await world.answer(held[2])
    await world.answer(held[1])
    held += await world.claim("worker-2", slots=9, cap=3)
    assert [one.job.id for one in held] == [job.id for job in jobs]
    assert await world.claim(slots=9, cap=3) == []


async def test_jobs_that_were_skipped_while_another_claimer_held_them_are_claimed_later(shop: Shop) -> None:
    held, free = await shop.world.add(), await shop.world.add()
    connection: Any = await asyncpg.connect(server().url())
    async with connection.transaction():
        await connection.execute(f"SELECT 1 FROM forebay.ready WHERE job_id = '{held.id}' FOR UPDATE")
        assert await shop.claimed() == [free.id]
        shop.watch.seconds += LAG_SECONDS
    await connection.close()
    shop.watch.seconds += WHOLE_SECONDS
    assert await shop.claimed() == [held.id]

"""Two processes on one store in each other's way: whatever the order, the tables agree and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from forebay.domain.change import Lookup
from forebay.domain.job import LIVE, Status
from forebay.ports import Clock, JobStore
from forebay.stores.postgres import Place, PostgresStore, check
from forebay.testing.conformance.world import World, opened
from tests.integration.postgres_house import empty_place, opened_at, server

ROUNDS = 15


class Pair(NamedTuple):
    """A world, and a second process on its store."""

    world: World
    other: JobStore
    place: Place


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    place = await empty_place(server().url())

    async def open_it(clock: Clock) -> PostgresStore:
        return await opened_at(place, clock)

    async with opened(open_it) as world:
        yield Pair(world, (await world.second()).jobs, place)
        assert await check(place) == []


async def test_two_that_finish_the_last_children_wake_the_parent_once(pair: Pair) -> None:
    world, other, _ = pair

    async def finish(jobs: JobStore, change: object, group: str) -> list[str]:
        await jobs.apply([change])
        return await jobs.settle([group])

    for _ in range(ROUNDS):
        group, children = await world.family(2)
        changes = [world.change(child) for child in children]
        woken = await asyncio.gather(finish(world.jobs, changes[0], group), finish(other, changes[1], group))
        assert sorted(map(len, woken)) == [0, 1]
        await world.answer(await world.take(queue="control"))


async def test_a_child_that_is_cancelled_as_the_last_other_ends_still_wakes_the_parent(pair: Pair) -> None:
    world, other, _ = pair

    async def finish(change: object, group: str) -> None:
        await world.jobs.apply([change])
        await world.jobs.settle([group])

    for _ in range(ROUNDS):
        claimed = await world.spawn([world.make(), world.make(priority=-1)])
        group = claimed.job.id
        running = await world.take()
        [queued] = [child for child in await world.children(group) if child.status is Status.QUEUED]
        await asyncio.gather(finish(world.change(running), group), other.cancel("default", [queued.id]))
        assert await world.status(group) is Status.QUEUED
        await world.answer(await world.take(queue="control"))


async def test_a_job_that_is_cancelled_as_it_is_claimed_ends_or_is_asked_to(pair: Pair) -> None:
    world, other, _ = pair
    for _ in range(ROUNDS):
        job = await world.add()
        claimed, [reply] = await asyncio.gather(world.claim(), other.cancel("default", [job.id]))
        assert reply.lookup is Lookup.DONE
        row = await world.row(job.id)
        if claimed:
            assert (row.status, row.ending is not None) == (Status.RUNNING, True)
            await world.answer(claimed[0])
        else:
            assert row.status is Status.CANCELLED


async def test_jobs_of_equal_keys_added_in_opposite_order_are_one_each(pair: Pair) -> None:
    world, other, _ = pair
    for turn in range(ROUNDS):
        jobs = [world.make(key=f"{turn}-{n}") for n in range(20)]
        rivals = [replace(world.make(), key=job.key) for job in reversed(jobs)]
        ours, theirs = await asyncio.gather(world.jobs.add(jobs), other.add(rivals))
        assert [one.id for one in ours] == [one.id for one in reversed(theirs)]
        assert sum(one.is_new for one in ours + theirs) == len(jobs)


async def test_a_child_that_is_added_as_its_parent_ends_does_not_live_on(pair: Pair) -> None:
    world, other, _ = pair
    for _ in range(ROUNDS):
        group = await world.put(world.make_group())
        claimed = await world.take(queue="control")
        child = world.make(parent_id=group.id, key="late")
        await asyncio.gather(world.jobs.apply([world.change(claimed)]), other.add([child]))
        assert await world.status(child.id) not in LIVE


async def test_a_child_that_is_retried_as_its_parent_ends_does_not_live_on(pair: Pair) -> None:
    world, other, _ = pair
    for _ in range(ROUNDS):
        group, [child] = await world.family(1)
        await world.answer(child, Status.FAILED)
        claimed = await world.take(queue="control")
        await asyncio.gather(world.jobs.apply([world.change(claimed)]), other.retry("default", [child.job.id]))
        assert (await world.status(group), await world.status(child.job.id) in LIVE) == (Status.SUCCEEDED, False)


async def test_sweeps_and_answers_at_once_lose_no_job(pair: Pair) -> None:
    world, other, _ = pair
    for _ in range(3):
        jobs = [await world.add() for _ in range(20)]
        claimed = await world.claim("mortal", slots=20)
        for one in claimed:
            await world.begin(one)
        world.clock.advance(31)
        answers = [world.jobs.apply([world.change(one)]) for one in claimed]
        await asyncio.gather(other.recover(), world.jobs.recover(), *answers)
        await world.recover()
        for again in await world.claim("heir", slots=40):
            await world.answer(again)
        assert {await world.status(job.id) for job in jobs} == {Status.SUCCEEDED}


async def test_whole_trees_cancelled_from_two_sides_end(pair: Pair) -> None:
    world, other, _ = pair
    for _ in range(5):
        group, children = await world.family(8)
        named = [child.job.id for child in children]
        await asyncio.gather(
            other.cancel("default", [group]),
            world.jobs.cancel("default", list(reversed(named))),
            world.jobs.apply([world.change(child) for child in children[:4]]),
        )
        await world.jobs.apply([world.change(child) for child in children])
        await world.jobs.settle([group])
        await world.answer(await world.take(queue="control"))
        assert await world.status(group) is Status.CANCELLED

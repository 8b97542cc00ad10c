"""``settle``: a join wakes its parent exactly when it is met, whoever looks, and however often."""

import asyncio

import pytest

from forebay.domain.change import Claimed
from forebay.domain.job import Join, Status
from forebay.testing.conformance.world import World

ENDS = [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED]


class Joining:
    @pytest.mark.parametrize("last", ENDS)
    async def test_all_wakes_when_the_last_child_ends_however_it_ends(self, world: World, last: Status) -> None:
        group, children = await world.family(3)
        for child in children[:2]:
            await world.answer(child)
            assert await world.status(group) == Status.WAITING
        await world.answer(children[2], last)
        assert await world.status(group) == Status.QUEUED
        assert (await world.take(queue="control")).job.id == group

    async def test_first_wakes_with_the_first_success_and_with_no_failure(self, world: World) -> None:
        group, [one, two, _] = await world.family(3, join=Join(successes=1))
        await world.answer(one, Status.FAILED)
        assert await world.status(group) == Status.WAITING
        await world.answer(two)
        assert await world.status(group) == Status.QUEUED

    async def test_a_quorum_wakes_with_its_last_success(self, world: World) -> None:
        group, [one, two, three, _, _] = await world.family(5, join=Join(successes=3))
        for child in (one, two):
            await world.answer(child)
        assert await world.status(group) == Status.WAITING
        await world.answer(three)
        assert await world.status(group) == Status.QUEUED

    async def test_a_quorum_that_cannot_be_reached_wakes_when_nothing_is_live(self, world: World) -> None:
        group, [one, two] = await world.family(2, join=Join(successes=2))
        await world.answer(one, Status.FAILED)
        assert await world.status(group) == Status.WAITING
        await world.answer(two)
        assert await world.status(group) == Status.QUEUED

    async def test_a_window_wakes_when_few_are_live(self, world: World) -> None:
        group, children = await world.family(5, join=Join(live=2))
        for child in children[:2]:
            await world.answer(child)
            assert await world.status(group) == Status.WAITING
        await world.answer(children[2], Status.FAILED)
        assert await world.status(group) == Status.QUEUED

    async def test_a_child_that_is_queued_again_is_live(self, world: World) -> None:
        group, [one, two] = await world.family(2)
        await world.answer(one, Status.QUEUED, due_at=world.clock.now() + 60)
        await world.answer(two)
        assert await world.status(group) == Status.WAITING

    async def test_a_join_wakes_at_its_time(self, world: World) -> None:
        until = world.clock.now() + 10
        group, _ = await world.family(2, join=Join(until=until))
        await world.recover()
        assert await world.status(group) == Status.WAITING
        world.clock.advance(10)
        assert (await world.recover()).woken == 1
        claimed = await world.take(queue="control")
        assert (claimed.job.id, claimed.job.ending) == (group, None)

    async def test_a_join_with_a_time_wakes_before_it_when_all_have_ended(self, world: World) -> None:
        group, [one] = await world.family(1, join=Join(until=world.clock.now() + 10))
        await world.answer(one)
        assert await world.status(group) == Status.QUEUED

    @pytest.mark.parametrize("join", [Join(), Join(successes=1), Join(live=3)])
    async def test_a_join_of_no_children_is_met(self, world: World, join: Join) -> None:
        group = await world.spawn([], join=join)
        assert await world.status(group.job.id) == Status.QUEUED

    async def test_a_join_that_is_met_already_wakes_at_once(self, world: World) -> None:
        group, [one, two] = await world.family(2, join=Join(successes=1))
        await world.answer(one)
        again = await world.take(queue="control")
        await world.answer(two)
        await world.answer(again, Status.WAITING)
        assert await world.status(group) == Status.QUEUED

    async def test_a_parent_is_woken_with_its_progress(self, world: World) -> None:
        group = await world.put(world.make_group())
        claimed = await world.take(queue="control")
        await world.answer(claimed, Status.WAITING, progress='{"version": 1, "next": 5}')
        claimed = await world.take(queue="control")
        assert (claimed.job.id, claimed.job.progress) == (group.id, '{"version": 1, "next": 5}')


class Settling:
    async def test_settle_names_whom_it_woke_and_wakes_nobody_twice(self, world: World) -> None:
        group, [one] = await world.family(1)
        await world.jobs.apply([world.change(one)])
        assert await world.status(group) == Status.WAITING
        assert await world.jobs.settle([group]) == [group]
        assert await world.jobs.settle([group]) == []
        assert len(await world.claim(queue="control")) == 1

    async def test_settle_wakes_none_but_waiting_jobs(self, world: World) -> None:
        queued, ended = await world.add(), await world.add()
        running = await world.put(world.make_group())
        await world.take(queue="control")
        await world.answer((await world.claim())[1])
        names = [queued.id, ended.id, running.id, "job_unknown"]
        assert await world.jobs.settle(names) == []
        assert await world.status(running.id) == Status.RUNNING

    async def test_settle_wakes_several_parents_by_one_call(self, world: World) -> None:
        groups = [(await world.spawn([world.make() for _ in range(2)])).job.id for _ in range(3)]
        claimed = await world.claim()
        await world.jobs.apply([world.change(one) for one in claimed if one.job.parent_id != groups[1]])
        assert sorted(await world.jobs.settle(groups)) == sorted([groups[0], groups[2]])

    async def test_two_that_finish_together_wake_the_parent_once(self, world: World) -> None:
        for _ in range(10):
            group, children = await world.family(2)
            woken = await asyncio.gather(*(_finish(world, child) for child in children))
            assert sorted(woken) == [[], [group]]
            assert (await world.take(queue="control")).job.id == group

    async def test_recover_wakes_the_parents_of_a_crash_before_settle(self, world: World) -> None:
        group, children = await world.family(2)
        await world.jobs.apply([world.change(child) for child in children])
        assert await world.status(group) == Status.WAITING
        assert (await world.recover()).woken == 1
        assert await world.status(group) == Status.QUEUED
        assert (await world.recover()).woken == 0

    async def test_recover_wakes_a_group_that_crashed_before_its_own_settle(self, world: World) -> None:
        group = await world.put(world.make_group())
        await world.jobs.apply([world.change(await world.take(queue="control"), Status.WAITING)])
        assert (await world.recover()).woken == 1
        assert (await world.take(queue="control")).job.id == group.id

    async def test_recover_wakes_nobody_early(self, world: World) -> None:
        group, [one, _] = await world.family(2)
        await world.jobs.apply([world.change(one)])
        assert (await world.recover()).woken == 0
        assert await world.status(group) == Status.WAITING


async def _finish(world: World, claimed: Claimed) -> list[str]:
    await world.jobs.apply([world.change(claimed)])
    return await world.jobs.settle([claimed.job.parent_id])

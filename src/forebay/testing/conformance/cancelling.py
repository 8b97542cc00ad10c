"""``cancel``: leaves end, running ones are asked to, and a group's handler has the last word."""

from forebay.domain.change import Claimed, Lookup
from forebay.domain.job import Ending, Join, Notice, Status
from forebay.domain.query import Parts
from forebay.testing.conformance.world import World, result

TELL = (Notice(kind="notify", queue="notify:ops"),)


class CancellingLeaves:
    async def test_a_queued_job_ends_at_once_and_tells(self, world: World) -> None:
        job = await world.add(on_end=TELL)
        [reply] = await world.jobs.cancel("default", [job.id])
        assert (reply.id, reply.lookup, reply.status) == (job.id, Lookup.DONE, Status.CANCELLED)
        assert await world.claim() == []
        assert (await world.row(job.id)).finished_at == world.clock.now()
        [notice] = await world.notices(job.id)
        assert world.args(notice) == {"job_id": job.id, "status": "cancelled"}

    async def test_a_job_of_later_ends_at_once(self, world: World) -> None:
        job = await world.add(due_at=world.clock.now() + 60)
        await world.jobs.cancel("default", [job.id])
        assert await world.status(job.id) == Status.CANCELLED
        world.clock.advance(60)
        assert await world.claim() == []

    async def test_a_running_job_is_asked_to_stop_by_the_renewal_of_its_own_worker(self, world: World) -> None:
        job, other = await world.add(), await world.add()
        claimed = await world.take("one")
        await world.take("two")
        [reply] = await world.jobs.cancel("default", [job.id])
        assert (reply.status, reply.ending) == (Status.RUNNING, Ending.CANCEL)
        assert (await world.jobs.renew(await world.worker("one"))).stopping == (job.id,)
        assert (await world.jobs.renew(await world.worker("two"))).stopping == ()
        await world.answer(claimed, Status.CANCELLED)
        assert await world.status(job.id) == Status.CANCELLED
        assert (await world.jobs.renew(await world.worker("one"))).stopping == ()
        assert await world.status(other.id) == Status.RUNNING

    async def test_a_paid_answer_is_kept_even_though_the_job_was_asked_to_stop(self, world: World) -> None:
        job = await world.add(on_end=TELL)
        claimed = await world.take()
        await world.jobs.cancel("default", [job.id])
        await world.answer(claimed, result=result("paid"))
        row = await world.row(job.id, Parts(result=True))
        assert (row.status, row.result) == (Status.SUCCEEDED, result("paid"))
        assert len(await world.notices(job.id)) == 1

    async def test_a_job_asked_to_stop_is_never_queued_again(self, world: World) -> None:
        job = await world.add(on_end=TELL)
        claimed = await world.take()
        await world.jobs.cancel("default", [job.id])
        await world.answer(claimed, Status.QUEUED)
        assert await world.status(job.id) == Status.CANCELLED
        assert len(await world.notices(job.id)) == 1

    async def test_a_job_asked_to_stop_ends_when_its_worker_dies(self, world: World) -> None:
        job = await world.add(on_end=TELL)
        await world.begin(await world.take())
        await world.jobs.cancel("default", [job.id])
        await world.lose_workers()
        assert await world.status(job.id) == Status.CANCELLED
        assert len(await world.notices(job.id)) == 1

    async def test_an_ended_job_stays_as_it_is(self, world: World) -> None:
        job = await world.add(on_end=TELL)
        await world.answer(await world.take())
        before = await world.row(job.id)
        [reply] = await world.jobs.cancel("default", [job.id])
        assert reply.status == Status.SUCCEEDED
        assert await world.row(job.id) == before
        assert len(await world.notices(job.id)) == 1

    async def test_cancelling_twice_is_cancelling_once(self, world: World) -> None:
        queued, running = await world.add(on_end=TELL), await world.add(on_end=TELL, priority=1)
        claimed = await world.take()
        ids = [queued.id, running.id]
        for _ in range(2):
            replies = await world.jobs.cancel("default", ids)
            assert [reply.status for reply in replies] == [Status.CANCELLED, Status.RUNNING]
        await world.answer(claimed, Status.QUEUED)
        assert [len(await world.notices(job_id)) for job_id in ids] == [1, 1]

    async def test_replies_name_each_job_in_order(self, world: World) -> None:
        job = await world.add()
        replies = await world.jobs.cancel("default", ["job_unknown", job.id])
        assert [(reply.id, reply.lookup) for reply in replies] == [
            ("job_unknown", Lookup.NOT_FOUND),
            (job.id, Lookup.DONE),
        ]

    async def test_the_cancel_of_a_groups_last_live_child_wakes_the_group(self, world: World) -> None:
        group = await world.spawn([world.make()])
        [child] = await world.children(group.job.id)
        await world.jobs.cancel("default", [child.id])
        claimed = await world.take(queue="control")
        assert (claimed.job.id, claimed.job.ending) == (group.job.id, None)


class CancellingGroups:
    async def test_a_cancelled_group_finishes_its_handler_and_ends_cancelled_with_its_output(
        self, world: World
    ) -> None:
        group = await world.spawn([world.make() for _ in range(3)], on_end=TELL)
        [reply] = await world.jobs.cancel("default", [group.job.id])
        assert reply.ending == Ending.CANCEL
        assert {row.status for row in await world.children(group.job.id)} == {Status.CANCELLED}
        assert await world.notices(group.job.id) == []
        last = await world.take(queue="control")
        assert (last.job.id, last.job.ending) == (group.job.id, Ending.CANCEL)
        await world.answer(last, result=result("the part that was done"))
        row = await world.row(group.job.id, Parts(result=True))
        assert (row.status, row.result) == (Status.CANCELLED, result("the part that was done"))
        [notice] = await world.notices(group.job.id)
        assert world.args(notice) == {"job_id": group.job.id, "status": "cancelled"}

    async def test_a_group_waits_for_its_running_children_to_stop(self, world: World) -> None:
        group, [one, two, _] = await world.family(3, join=Join(successes=1))
        await world.jobs.cancel("default", [group])
        row = await world.row(group)
        assert (row.status, row.ending, row.join) == (Status.WAITING, Ending.CANCEL, Join())
        assert len((await world.jobs.renew(await world.worker())).stopping) == 3
        await world.answer(one, result=result("paid"))
        await world.answer(two, Status.QUEUED)
        assert await world.status(group) == Status.WAITING
        await world.lose_workers()
        assert (await world.take(queue="control")).job.ending == Ending.CANCEL
        statuses = [child.status for child in await world.children(group)]
        assert statuses == [Status.SUCCEEDED, Status.CANCELLED, Status.CANCELLED]

    async def test_a_group_that_never_ran_runs_once_to_finish(self, world: World) -> None:
        group = await world.put(world.make_group(on_end=TELL))
        await world.jobs.cancel("default", [group.id])
        claimed = await world.take(queue="control")
        assert (claimed.job.id, claimed.job.ending) == (group.id, Ending.CANCEL)
        await world.answer(claimed)
        assert await world.status(group.id) == Status.CANCELLED
        assert len(await world.notices(group.id)) == 1

    async def test_a_group_of_later_is_claimable_at_once(self, world: World) -> None:
        group = await world.put(world.make_group(due_at=world.clock.now() + 999))
        await world.jobs.cancel("default", [group.id])
        assert (await world.take(queue="control")).job.ending == Ending.CANCEL

    async def test_children_spawned_under_an_ending_are_added_as_ended(self, world: World) -> None:
        group = await world.put(world.make_group())
        claimed = await world.take(queue="control")
        [reply] = await world.jobs.cancel("default", [group.id])
        assert (reply.status, reply.ending) == (Status.RUNNING, Ending.CANCEL)
        await world.answer(claimed, Status.WAITING, children=world.under(group.id, [world.make(), world.make_group()]))
        assert [row.status for row in await world.children(group.id)] == [Status.CANCELLED] * 2
        assert await world.claim() == []
        last = await world.take(queue="control")
        assert (last.job.id, last.job.ending) == (group.id, Ending.CANCEL)

    async def test_a_failed_answer_under_a_cancel_ends_cancelled(self, world: World) -> None:
        group = await world.spawn([world.make()])
        await world.jobs.cancel("default", [group.job.id])
        await world.answer(await world.take(queue="control"), Status.FAILED)
        assert await world.status(group.job.id) == Status.CANCELLED

    async def test_a_group_whose_handler_died_is_claimed_again_to_finish(self, world: World) -> None:
        group = await world.put(world.make_group())
        await world.take(queue="control")
        await world.jobs.cancel("default", [group.id])
        await world.lose_workers()
        claimed = await world.take(queue="control")
        assert (claimed.job.id, claimed.job.ending) == (group.id, Ending.CANCEL)

    async def test_a_cancel_reaches_a_whole_subtree(self, world: World) -> None:
        top, inner = await self._tree(world)
        leaves = await world.claim(slots=1)
        await world.jobs.cancel("default", [top.job.id])
        assert (await world.row(inner.job.id)).ending == Ending.CANCEL
        assert await world.claim(queue="control") == []
        await world.answer(leaves[0], Status.QUEUED)
        for expected in (inner, top):
            last = await world.take(queue="control")
            assert (last.job.id, last.job.ending) == (expected.job.id, Ending.CANCEL)
            await world.answer(last)
        rows = [await world.row(job_id) for job_id in (top.job.id, inner.job.id)]
        assert [row.status for row in rows] == [Status.CANCELLED] * 2
        assert {row.status for row in await world.children(inner.job.id)} == {Status.CANCELLED}

    async def test_the_cancel_of_an_inner_group_leaves_the_outer_one_running(self, world: World) -> None:
        top, inner = await self._tree(world)
        await world.jobs.cancel("default", [inner.job.id])
        await world.answer(await world.take(queue="control"))
        assert await world.status(inner.job.id) == Status.CANCELLED
        woken = await world.take(queue="control")
        assert (woken.job.id, woken.job.ending) == (top.job.id, None)

    async def _tree(self, world: World) -> tuple[Claimed, Claimed]:
        top = await world.spawn([world.make_group()])
        inner = await world.take(queue="control")
        await world.answer(inner, Status.WAITING, children=world.under(inner.job.id, [world.make(), world.make()]))
        return top, inner

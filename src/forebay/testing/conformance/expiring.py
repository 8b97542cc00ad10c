"""Deadlines: a queued leaf past its own ends as expired; a group finishes its handler first."""

from forebay.domain.job import Ending, Job, Notice, Status
from forebay.domain.query import Parts
from forebay.testing.conformance.world import World, result

TELL = (Notice(kind="notify", queue="notify:ops"),)


class Expiring:
    async def test_a_job_past_its_deadline_is_ended_by_the_claim_that_finds_it(self, world: World) -> None:
        job = await world.add(deadline=world.clock.now() + 10, on_end=TELL)
        world.clock.advance(11)
        assert await world.claim() == []
        _assert_expired(await world.row(job.id))
        [notice] = await world.notices(job.id)
        assert world.args(notice) == {"job_id": job.id, "status": "failed"}

    async def test_a_claim_passes_over_the_expired_to_those_behind(self, world: World) -> None:
        for _ in range(3):
            await world.add(deadline=world.clock.now() + 10)
        alive = await world.add()
        world.clock.advance(11)
        claimed = [one for _ in range(4) for one in await world.claim(slots=2)]
        assert [one.job.id for one in claimed] == [alive.id]

    async def test_recover_expires_the_jobs_of_a_lane_that_nobody_serves(self, world: World) -> None:
        now = world.clock.now()
        ready = await world.add(deadline=now + 10, on_end=TELL)
        later = await world.add(due_at=now + 99, deadline=now + 10)
        alive = await world.add(deadline=now + 12)
        world.clock.advance(11)
        assert (await world.recover()).expired == 2
        for job in (ready, later):
            _assert_expired(await world.row(job.id))
        assert len(await world.notices(ready.id)) == 1
        assert await world.status(alive.id) == Status.QUEUED

    async def test_a_running_job_may_answer_after_its_deadline(self, world: World) -> None:
        job = await world.add(deadline=world.clock.now() + 10)
        claimed = await world.take()
        world.clock.advance(11)
        await world.recover()
        await world.answer(claimed)
        assert await world.status(job.id) == Status.SUCCEEDED

    async def test_a_rescued_job_past_its_deadline_expires(self, world: World) -> None:
        job = await world.add(deadline=world.clock.now() + 10)
        await world.begin(await world.take())
        await world.lose_workers()
        await world.recover()
        _assert_expired(await world.row(job.id))

    async def test_an_expired_child_wakes_its_parent(self, world: World) -> None:
        group = await world.spawn([world.make(deadline=world.clock.now() + 10)])
        world.clock.advance(11)
        await world.recover()
        claimed = await world.take(queue="control")
        assert (claimed.job.id, claimed.job.ending) == (group.job.id, None)

    async def test_a_child_that_a_claim_found_expired_wakes_its_parent_at_last(self, world: World) -> None:
        group = await world.spawn([world.make(deadline=world.clock.now() + 10)])
        world.clock.advance(11)
        assert await world.claim() == []
        await world.recover()
        assert (await world.take(queue="control")).job.id == group.job.id


class ExpiringGroups:
    async def test_a_waiting_group_past_its_deadline_finishes_its_handler_and_ends_expired(self, world: World) -> None:
        group = await world.spawn([world.make() for _ in range(2)], deadline=world.clock.now() + 10, on_end=TELL)
        world.clock.advance(11)
        await world.recover()
        assert {row.is_terminal for row in await world.children(group.job.id)} == {True}
        assert await world.notices(group.job.id) == []
        last = await world.take(queue="control")
        assert (last.job.id, last.job.ending) == (group.job.id, Ending.EXPIRE)
        await world.answer(last, result=result("the part that was done"))
        row = await world.row(group.job.id, Parts(result=True))
        _assert_expired(row)
        assert row.result == result("the part that was done")
        assert len(await world.notices(group.job.id)) == 1

    async def test_an_expired_group_waits_for_its_running_children(self, world: World) -> None:
        group, [one] = await world.family(1, deadline=world.clock.now() + 10)
        world.clock.advance(11)
        await world.recover()
        assert await world.status(group) == Status.WAITING
        assert (await world.jobs.renew(await world.worker())).stopping == (one.job.id,)
        await world.answer(one)
        assert (await world.take(queue="control")).job.ending == Ending.EXPIRE
        assert await world.status(one.job.id) == Status.SUCCEEDED

    async def test_a_queued_group_past_its_deadline_is_claimed_with_its_ending(self, world: World) -> None:
        group = await world.put(world.make_group(deadline=world.clock.now() + 10))
        world.clock.advance(11)
        claimed = await world.take(queue="control")
        assert (claimed.job.id, claimed.job.ending) == (group.id, Ending.EXPIRE)
        await world.answer(claimed)
        _assert_expired(await world.row(group.id))

    async def test_a_group_of_a_queue_that_nobody_serves_gets_its_ending_and_ends_when_served(
        self, world: World
    ) -> None:
        group = await world.put(world.make_group(deadline=world.clock.now() + 10))
        world.clock.advance(11)
        await world.recover()
        assert (await world.row(group.id)).ending == Ending.EXPIRE
        assert await world.status(group.id) == Status.QUEUED
        assert (await world.take(queue="control")).job.ending == Ending.EXPIRE

    async def test_a_cancel_that_came_first_stays_a_cancel(self, world: World) -> None:
        group, [one] = await world.family(1, deadline=world.clock.now() + 10)
        await world.jobs.cancel("default", [group])
        world.clock.advance(11)
        await world.recover()
        await world.answer(one, Status.QUEUED)
        assert (await world.take(queue="control")).job.ending == Ending.CANCEL


def _assert_expired(row: Job) -> None:
    assert row.status == Status.FAILED
    assert row.error is not None
    assert row.error.code == "expired"
    assert row.finished_at is not None

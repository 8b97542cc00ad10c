"""Poison: a job that kills its workers is run alone, then held; its neighbours and plain crashes never are."""

from forebay.domain.change import Want
from forebay.domain.job import POISON_DEATHS_OF_A_GROUP, Job, Join, Notice, Status
from forebay.testing.conformance.world import LANE, QUEUE, World

TELL = (Notice(kind="notify", queue="notify:ops"),)


class Suspects:
    async def test_a_job_without_a_begun_call_counts_no_rescue(self, world: World) -> None:
        job = await world.add()
        for _ in range(5):
            await world.take()
            await world.lose_workers()
        row = await world.row(job.id)
        assert (row.status, row.rescues, row.lone_rescues) == (Status.QUEUED, 0, 0)
        assert len(await world.claim()) == 1

    async def test_a_call_of_an_earlier_lease_counts_no_rescue(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        attempt = await world.begin(claimed)
        await world.answer(claimed, Status.QUEUED, attempts=(world.completed(attempt),))
        for _ in range(3):
            await world.take()
            await world.lose_workers()
        assert (await world.row(job.id)).rescues == 0

    async def test_a_job_rescued_once_is_claimed_like_any(self, world: World) -> None:
        job = await world.add()
        await world.begin(await world.take())
        await world.lose_workers()
        assert (await world.row(job.id)).rescues == 1
        claimed = await world.take()
        assert (claimed.job.id, claimed.is_alone) == (job.id, False)

    async def test_a_job_rescued_twice_is_claimed_alone_only(self, world: World) -> None:
        job = await _suspect(world)
        assert (await world.recover()).suspects == (QUEUE,)
        assert await world.claim() == []
        [claimed] = await world.claim_alone()
        assert (claimed.job.id, claimed.is_alone) == (job.id, True)

    async def test_a_suspect_does_not_hold_up_those_behind_it(self, world: World) -> None:
        await _suspect(world)
        other = await world.add()
        assert [one.job.id for one in await world.claim()] == [other.id]

    async def test_suspects_are_claimed_one_at_a_time_by_a_worker_with_no_lease(self, world: World) -> None:
        await _suspect(world)
        await _suspect(world)
        await world.add()
        await world.take("busy")
        assert await world.claim_alone("busy") == []
        assert len(await world.claim_alone("one")) == 1
        assert await world.claim_alone("one") == []
        assert len(await world.claim_alone("two")) == 1

    async def test_a_suspect_that_answers_is_a_job_like_any(self, world: World) -> None:
        job = await _suspect(world)
        [claimed] = await world.claim_alone()
        await world.begin(claimed)
        await world.answer(claimed)
        assert await world.status(job.id) == Status.SUCCEEDED

    async def test_a_suspect_that_kills_two_workers_alone_is_held_as_poison_and_tells(self, world: World) -> None:
        job = await _suspect(world)
        for lone_rescues in (1, 2):
            [claimed] = await world.claim_alone()
            await world.begin(claimed)
            await world.lose_workers()
            assert (await world.row(job.id)).lone_rescues == lone_rescues
        row = await world.row(job.id)
        assert row.status == Status.FAILED
        assert row.error is not None
        assert row.error.code == "poison"
        assert await world.claim_alone() == []
        assert (await world.recover()).suspects == ()
        [notice] = await world.notices(job.id)
        assert world.args(notice) == {"job_id": job.id, "status": "failed"}
        assert [one.outcome for one in await world.ledger(job.id)] == ["unknown"] * 4

    async def test_a_lone_crash_without_a_begun_call_counts_nothing(self, world: World) -> None:
        job = await _suspect(world)
        for _ in range(3):
            assert len(await world.claim_alone()) == 1
            await world.lose_workers()
        row = await world.row(job.id)
        assert (row.status, row.rescues, row.lone_rescues) == (Status.QUEUED, 2, 0)

    async def test_the_neighbours_of_a_killer_never_die_of_it(self, world: World) -> None:
        jobs = [await world.add() for _ in range(3)]
        for _ in range(2):
            for claimed in await world.claim():
                await world.begin(claimed)
            await world.lose_workers()
        killer = jobs[0].id
        for _ in range(10):
            for claimed in await world.claim_alone():
                await world.begin(claimed)
                if claimed.job.id == killer:
                    await world.lose_workers()
                else:
                    await world.answer(claimed)
        statuses = [await world.status(job.id) for job in jobs]
        assert statuses == [Status.FAILED, Status.SUCCEEDED, Status.SUCCEEDED]

    async def test_a_poisoned_child_wakes_its_parent(self, world: World) -> None:
        group = await world.spawn([world.make()])
        for is_alone in (False, False, True, True):
            [claimed] = await (world.claim_alone() if is_alone else world.claim())
            await world.begin(claimed)
            await world.lose_workers()
        await world.recover()
        assert (await world.take(queue="control")).job.id == group.job.id

    async def test_a_group_whose_run_kills_its_worker_each_time_is_run_alone_and_then_held_as_poison(
        self, world: World
    ) -> None:
        group = await world.put(world.make_group(on_end=TELL))
        for _ in range(2):
            await world.take(queue="control")
            await world.lose_workers()
        assert (await world.recover()).suspects == ("control",)
        assert await world.claim(queue="control") == []
        for _ in range(POISON_DEATHS_OF_A_GROUP):
            [claimed] = await world.claim_alone(queue="control")
            assert (claimed.job.id, claimed.is_alone) == (group.id, True)
            await world.lose_workers()
        row = await world.row(group.id)
        assert row.error is not None
        assert (row.status, row.error.code) == (Status.FAILED, "poison")
        assert len(await world.notices(group.id)) == 1

    async def test_a_poisoned_group_takes_its_live_children_with_it_and_no_other(self, world: World) -> None:
        group = await world.spawn([world.make() for _ in range(3)], join=Join(live=2))
        done, *_ = await world.claim(slots=1)
        await world.answer(done)
        for is_alone in (False, False, *[True] * POISON_DEATHS_OF_A_GROUP):
            await (world.claim_alone(queue="control") if is_alone else world.claim(queue="control"))
            await world.lose_workers()
        assert await world.status(group.job.id) == Status.FAILED
        statuses = sorted(child.status for child in await world.children(group.job.id))
        assert statuses == [Status.CANCELLED, Status.CANCELLED, Status.SUCCEEDED]

    async def test_the_rescues_of_a_group_count_in_a_row(self, world: World) -> None:
        group = await world.put(world.make_group())
        for step in range(3):
            await world.take(queue="control")
            await world.lose_workers()
            claimed = await world.take(queue="control")
            child = world.under(group.id, [world.make(key=f"{step}")])
            await world.answer(claimed, Status.WAITING, children=child)
            assert (await world.row(group.id)).rescues == 0
            await world.answer(await world.take())

    async def test_the_death_of_a_group_s_worker_is_no_rescue_of_its_queued_children(self, world: World) -> None:
        group = await world.spawn([world.make() for _ in range(3)], join=Join(live=3))
        for _ in range(2):
            await world.take(queue="control")
            await world.lose_workers()
        assert {child.rescues for child in await world.children(group.job.id)} == {0}
        assert len(await world.claim()) == 3

    async def test_a_suspect_is_cancelled_and_expires_like_any(self, world: World) -> None:
        cancelled = await _suspect(world)
        await world.jobs.cancel("default", [cancelled.id])
        assert await world.status(cancelled.id) == Status.CANCELLED
        expired = await _suspect(world, lifespan=200.0)
        world.clock.advance(300)
        await world.recover()
        assert await world.status(expired.id) == Status.FAILED
        assert await world.claim_alone() == []

    async def test_a_retried_poison_is_no_suspect(self, world: World) -> None:
        job = await _suspect(world)
        for _ in range(2):
            [claimed] = await world.claim_alone()
            await world.begin(claimed)
            await world.lose_workers()
        await world.jobs.retry("default", [job.id])
        assert [one.job.id for one in await world.claim()] == [job.id]

    async def test_a_suspect_keeps_to_the_cap_of_its_lane(self, world: World) -> None:
        await _suspect(world)
        await world.add()
        await world.take("one")
        want = Want(queue=QUEUE, lane=LANE, slots=1, cap=1)
        assert await world.jobs.claim(await world.worker("two"), [want], is_alone=True) == []


async def _suspect(world: World, lifespan: float = 86_400.0) -> Job:
    """A queued job that was rescued twice from workers that died in its call."""
    job = await world.add(on_end=TELL, priority=50, deadline=world.clock.now() + lifespan)
    for _ in range(2):
        claimed = await world.take("victim")
        assert claimed.job.id == job.id
        await world.begin(claimed)
        await world.lose_workers()
    return job

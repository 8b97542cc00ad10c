"""``claim``: who gets which jobs, in which order, and how many."""

import asyncio

from forebay.domain.attempt import Outcome
from forebay.domain.change import Want
from forebay.domain.job import OnUnknown, Spec, Status
from forebay.domain.query import Parts
from forebay.testing.conformance.world import LANE, QUEUE, World


class Claiming:
    async def test_a_claimed_job_is_running_and_carries_its_body(self, world: World) -> None:
        job = await world.add()
        world.clock.advance(5)
        claimed = await world.take()
        assert claimed.job.id == job.id
        assert claimed.job.body == job.body
        assert claimed.job.spec == job.spec
        assert (claimed.lane, claimed.is_alone) == (LANE, False)
        row = await world.row(job.id)
        assert (row.status, row.started_at) == (Status.RUNNING, world.clock.now())

    async def test_the_start_of_a_job_is_its_first_claim(self, world: World) -> None:
        job = await world.add()
        started_at = world.clock.now()
        await world.answer(await world.take(), Status.QUEUED)
        world.clock.advance(5)
        await world.take()
        assert (await world.row(job.id)).started_at == started_at

    async def test_a_claimed_job_is_not_claimed_again(self, world: World) -> None:
        await world.add()
        await world.take("one")
        assert await world.claim("one") == []
        assert await world.claim("two") == []

    async def test_a_worker_gets_only_the_queues_it_asks_for(self, world: World) -> None:
        await world.add(queue="target:other")
        assert await world.claim() == []

    async def test_one_call_claims_from_several_queues(self, world: World) -> None:
        jobs = [await world.add(queue=queue) for queue in ("a", "b", "b", "c")]
        wants = [Want(queue=queue, lane=queue, slots=1) for queue in ("a", "b")]
        claimed = await world.jobs.claim(await world.worker(), wants)
        assert {one.job.id for one in claimed} == {jobs[0].id, jobs[1].id}
        assert {one.lane for one in claimed} == {"a", "b"}

    async def test_never_more_jobs_are_claimed_than_slots(self, world: World) -> None:
        for _ in range(5):
            await world.add()
        assert [len(await world.claim(slots=slots)) for slots in (0, 2, 2, 2)] == [0, 2, 2, 1]

    async def test_jobs_of_one_tenant_come_in_the_order_of_their_ids(self, world: World) -> None:
        jobs = [await world.add() for _ in range(5)]
        assert [one.job.id for one in await world.claim()] == [job.id for job in jobs]

    async def test_higher_priority_goes_first(self, world: World) -> None:
        jobs = {priority: await world.add(priority=priority) for priority in (0, -100, 100, 5)}
        claimed = [await world.take() for _ in range(4)]
        assert [one.job.id for one in claimed] == [jobs[priority].id for priority in (100, 5, 0, -100)]

    async def test_awaited_jobs_go_before_any_priority(self, world: World) -> None:
        urgent, awaited = await world.add(priority=100), await world.add(awaited=True, priority=-100)
        assert [(await world.take()).job.id for _ in range(2)] == [awaited.id, urgent.id]

    async def test_two_tenants_take_turns_however_much_one_has_queued(self, world: World) -> None:
        for _ in range(20):
            await world.add(tenant="many")
        for _ in range(4):
            await world.add(tenant="few")
        first = [(await world.take()).job.tenant for _ in range(8)]
        assert first.count("few") == 4

    async def test_turns_are_counted_in_tokens(self, world: World) -> None:
        for _ in range(10):
            await world.add(tenant="large", tokens=300)
        for _ in range(10):
            await world.add(tenant="small", tokens=100)
        first = [(await world.take()).job.tenant for _ in range(8)]
        assert first.count("small") == 6

    async def test_a_tenants_weight_is_its_share(self, world: World) -> None:
        for _ in range(12):
            await world.add(tenant="light", weight=1.0)
        for _ in range(12):
            await world.add(tenant="heavy", weight=3.0)
        first = [(await world.take()).job.tenant for _ in range(12)]
        assert first.count("heavy") == 9

    async def test_an_idle_tenant_saves_up_no_turns(self, world: World) -> None:
        for _ in range(20):
            await world.add(tenant="busy")
        for _ in range(10):
            await world.answer(await world.take())
        for _ in range(10):
            await world.add(tenant="late")
        next_six = [(await world.take()).job.tenant for _ in range(6)]
        assert next_six.count("late") in (3, 4)

    async def test_a_retried_job_keeps_its_own_tenants_turn(self, world: World) -> None:
        for _ in range(6):
            await world.add(tenant="a")
            await world.add(tenant="b")
        for _ in range(4):
            await world.answer(await world.take(), Status.QUEUED)
        order = [(await world.take()).job.tenant for _ in range(12)]
        assert sorted(order[:6]) == ["a", "a", "a", "b", "b", "b"]

    async def test_what_goes_on_elsewhere_is_asked_for_before_anything_new_is_sent(self, world: World) -> None:
        slow = await world.add(priority=-100, tokens=100_000)
        claimed = await world.take()
        attempt = await world.begin(claimed)
        later = world.clock.now() + 5
        await world.answer(claimed, Status.QUEUED, due_at=later, progress='{"version": 2}')
        for _ in range(3):
            await world.add(priority=100, awaited=True)
        assert (await world.take()).job.id != slow.id
        world.clock.advance(5)
        await world.recover()
        poll = await world.take()
        assert (poll.job.id, poll.job.attempt_count, poll.job.progress) == (slow.id, 1, '{"version": 2}')
        await world.answer(poll, Status.QUEUED, attempts=(world.completed(attempt),))
        row = await world.row(slow.id, Parts(attempts=True))
        assert [one.outcome for one in row.attempts] == [Outcome.SUCCEEDED]
        assert (await world.take()).job.id != slow.id, "its call is over: it has no precedence any more"

    async def test_asking_for_what_goes_on_elsewhere_costs_its_tenant_hardly_a_turn(self, world: World) -> None:
        await world.add(tenant="slow", tokens=100)
        claimed = await world.take()
        await world.begin(claimed)
        for _ in range(3):
            await world.add(tenant="other", tokens=100)
        for _ in range(20):
            await world.answer(claimed, Status.QUEUED)
            claimed = await world.take()
        for _ in range(3):
            await world.add(tenant="slow", tokens=100)
        first = [(await world.take()).job.tenant for _ in range(4)]
        assert first.count("slow") == 2

    async def test_the_death_of_who_asks_leaves_nothing_in_doubt_and_counts_no_rescue(self, world: World) -> None:
        job = await world.add(spec=Spec(on_unknown=OnUnknown.HOLD))
        claimed = await world.take()
        attempt = await world.begin(claimed)
        await world.answer(claimed, Status.QUEUED)
        for _ in range(3):
            await world.take()
            await world.lose_workers()
        row = await world.row(job.id, Parts(attempts=True))
        assert (row.status, row.rescues, row.attempts[0].outcome) == (Status.QUEUED, 0, Outcome.RUNNING)
        await world.answer(await world.take(), attempts=(world.completed(attempt),))
        row = await world.row(job.id, Parts(attempts=True))
        assert (row.status, row.attempts[0].outcome) == (Status.SUCCEEDED, Outcome.SUCCEEDED)


class Capping:
    async def test_a_lane_never_holds_more_leases_than_its_cap(self, world: World) -> None:
        for _ in range(9):
            await world.add()
        assert [len(await world.claim(name, slots=2, cap=5)) for name in ("one", "two", "three", "four")] == [
            2,
            2,
            1,
            0,
        ]

    async def test_an_ended_job_frees_its_place_under_the_cap(self, world: World) -> None:
        for _ in range(3):
            await world.add()
        [one, _] = await world.claim(cap=2)
        assert await world.claim(cap=2) == []
        await world.answer(one)
        assert len(await world.claim(cap=2)) == 1

    async def test_a_cap_holds_over_the_queues_that_one_lane_serves(self, world: World) -> None:
        for queue in (QUEUE, "route:any"):
            for _ in range(3):
                await world.add(queue=queue)
        wants = [Want(queue=queue, lane=LANE, slots=3, cap=4) for queue in (QUEUE, "route:any")]
        assert len(await world.jobs.claim(await world.worker(), wants)) == 4

    async def test_one_lane_at_its_cap_holds_up_no_other(self, world: World) -> None:
        for queue in ("a", "b"):
            for _ in range(2):
                await world.add(queue=queue)
        wants = [Want(queue="a", lane="a", slots=2, cap=0), Want(queue="b", lane="b", slots=2, cap=2)]
        assert {one.job.queue for one in await world.jobs.claim(await world.worker(), wants)} == {"b"}

    async def test_claimers_at_the_same_time_share_no_job_and_pass_no_cap(self, world: World) -> None:
        await world.jobs.add([world.make() for _ in range(60)])
        workers = [await world.worker(f"w{n}") for n in range(8)]
        want = [Want(queue=QUEUE, lane=LANE, slots=10, cap=50)]
        claims = await asyncio.gather(*(world.jobs.claim(worker, want) for worker in workers))
        ids = [one.job.id for claimed in claims for one in claimed]
        assert (len(ids), len(set(ids))) == (50, 50)
        assert all(len(claimed) <= 10 for claimed in claims)


class Waiting:
    async def test_a_job_of_later_is_not_claimed_before_it_is_due(self, world: World) -> None:
        job = await world.add(due_at=world.clock.now() + 10)
        assert await world.claim() == []
        world.clock.advance(9.5)
        assert await world.claim() == []
        world.clock.advance(0.5)
        assert [one.job.id for one in await world.claim()] == [job.id]

    async def test_a_snoozed_job_comes_back_when_it_is_due(self, world: World) -> None:
        job = await world.add()
        await world.answer(await world.take(), Status.QUEUED, due_at=world.clock.now() + 10, progress='{"version": 1}')
        assert await world.claim() == []
        world.clock.advance(10)
        claimed = await world.take()
        assert (claimed.job.id, claimed.job.progress) == (job.id, '{"version": 1}')

    async def test_all_that_has_fallen_due_is_claimed_at_last(self, world: World) -> None:
        await world.jobs.add([world.make(due_at=world.clock.now() + 1 + n / 100) for n in range(300)])
        world.clock.advance(60)
        ids: set[str] = set()
        while claimed := await world.claim(slots=50):
            ids |= {one.job.id for one in claimed}
        assert len(ids) == 300

    async def test_recover_moves_what_has_fallen_due(self, world: World) -> None:
        await world.add(due_at=world.clock.now() + 10)
        assert (await world.recover()).due == 0
        world.clock.advance(10)
        assert (await world.recover()).due == 1
        assert (await world.recover()).due == 0
        assert len(await world.claim()) == 1

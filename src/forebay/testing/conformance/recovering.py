"""Workers: heartbeats that keep leases, ``recover`` that frees them, and zombies that come back."""

import asyncio

from forebay.domain.change import Want, Worker
from forebay.domain.job import Status
from forebay.testing.conformance.world import LANE, LEASE_SECONDS, QUEUE, World


class Heartbeats:
    async def test_a_heartbeat_keeps_all_leases_of_its_worker(self, world: World) -> None:
        jobs = [await world.add() for _ in range(3)]
        await world.claim()
        for _ in range(5):
            world.clock.advance(LEASE_SECONDS * 0.9)
            assert (await world.jobs.renew(world.known())).is_alive
            assert (await world.recover()).rescued == 0
        assert {await world.status(job.id) for job in jobs} == {Status.RUNNING}

    async def test_leases_run_out_with_the_heartbeat_and_not_before(self, world: World) -> None:
        job = await world.add()
        await world.begin(await world.take())
        world.clock.advance(LEASE_SECONDS - 1)
        assert (await world.recover()).rescued == 0
        assert await world.status(job.id) == Status.RUNNING
        world.clock.advance(2)
        assert (await world.recover()).rescued == 1
        assert (await world.take("two")).job.id == job.id

    async def test_each_worker_has_the_lease_time_that_it_named(self, world: World) -> None:
        await world.add()
        patient = Worker(id="patient", lease_seconds=300.0, queues=(QUEUE,))
        await world.jobs.renew(patient)
        assert len(await world.jobs.claim(patient, [_want(1)])) == 1
        await world.lose_workers()
        assert (await world.jobs.renew(patient)).is_alive
        assert await world.claim() == []

    async def test_the_death_of_one_worker_harms_no_other(self, world: World) -> None:
        jobs = [await world.add() for _ in range(2)]
        await world.begin(await world.take("one"))
        await world.begin(await world.take("two"))
        assert (await world.lose_workers("two")).rescued == 1
        assert [await world.status(job.id) for job in jobs] == [Status.QUEUED, Status.RUNNING]
        assert (await world.jobs.renew(world.known("two"))).is_alive

    async def test_renewing_without_claims_is_idempotent(self, world: World) -> None:
        replies = [await world.jobs.renew(world.known()) for _ in range(3)]
        assert [(reply.is_alive, reply.epoch, reply.stopping) for reply in replies] == [(True, 0, ())] * 3

    async def test_workers_are_listed_with_their_heartbeats(self, world: World) -> None:
        await world.worker("one")
        world.clock.advance(5)
        await world.worker("two")
        beats = {worker.id: worker.heartbeat_at for worker in await world.jobs.workers()}
        assert beats == {"one": world.clock.now() - 5, "two": world.clock.now()}
        [one] = [worker for worker in await world.jobs.workers() if worker.id == "one"]
        assert (one.host, one.queues, one.lease_seconds) == ("nowhere", (QUEUE,), LEASE_SECONDS)


class Zombies:
    async def test_a_worker_whose_leases_were_taken_is_told_so_and_may_start_anew(self, world: World) -> None:
        await world.add()
        await world.take("one")
        await world.lose_workers()
        zombie = world.known("one")
        renewal = await world.jobs.renew(zombie)
        assert not renewal.is_alive
        assert renewal.epoch > zombie.epoch
        anew = await world.worker("one")
        assert anew.epoch == renewal.epoch
        assert len(await world.claim("one")) == 1

    async def test_a_zombie_claims_nothing(self, world: World) -> None:
        await world.add()
        await world.take("one")
        await world.lose_workers()
        assert await world.jobs.claim(world.known("one"), [_want(10)]) == []
        assert len(await world.claim("two")) == 1

    async def test_a_zombie_claims_nothing_after_it_came_back_with_its_old_epoch(self, world: World) -> None:
        await world.add()
        await world.take("one")
        await world.lose_workers()
        zombie = world.known("one")
        await world.worker("one")
        assert await world.jobs.claim(zombie, [_want(10)]) == []
        assert len(await world.claim("one")) == 1

    async def test_a_worker_that_renews_before_anyone_swept_keeps_its_leases(self, world: World) -> None:
        job = await world.add()
        await world.take()
        world.clock.advance(LEASE_SECONDS * 3)
        assert (await world.jobs.renew(world.known())).is_alive
        await world.recover()
        assert await world.status(job.id) == Status.RUNNING


class Retiring:
    async def test_a_worker_that_retires_hands_back_its_leases_unharmed(self, world: World) -> None:
        job, _ = await world.add(), await world.add()
        claimed = (await world.claim("one"))[0]
        await world.begin(claimed)
        assert await world.jobs.retire(world.known("one")) == 2
        row = await world.row(job.id)
        assert (row.status, row.attempts_used, row.rescues) == (Status.QUEUED, 0, 0)
        assert len(await world.claim("two")) == 2
        assert [worker.id for worker in await world.jobs.workers()] == ["two"]

    async def test_the_answer_of_a_retired_worker_is_stale(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take("one")
        await world.jobs.retire(world.known("one"))
        await world.jobs.apply([world.change(claimed)])
        assert await world.status(job.id) == Status.QUEUED

    async def test_a_job_asked_to_stop_ends_when_its_worker_retires(self, world: World) -> None:
        job = await world.add()
        await world.take()
        await world.jobs.cancel("default", [job.id])
        await world.jobs.retire(world.known())
        assert await world.status(job.id) == Status.CANCELLED

    async def test_a_zombie_hands_back_nothing_of_the_worker_that_started_anew(self, world: World) -> None:
        job = await world.add()
        await world.take("one")
        await world.lose_workers()
        zombie = world.known("one")
        await world.take("one")
        assert await world.jobs.retire(zombie) == 0
        assert await world.status(job.id) == Status.RUNNING

    async def test_a_worker_without_leases_retires_too(self, world: World) -> None:
        assert await world.jobs.retire(await world.worker()) == 0
        assert await world.jobs.workers() == []


class Sweeping:
    async def test_sweeps_on_every_node_at_once_do_the_work_of_one(self, world: World) -> None:
        await world.jobs.add([world.make() for _ in range(20)])
        for claimed in await world.claim(slots=20):
            await world.begin(claimed)
        world.clock.advance(LEASE_SECONDS + 1)
        sweeps = await asyncio.gather(*(world.jobs.recover() for _ in range(5)))
        assert sum(swept.rescued for swept in sweeps) == 20
        rows = [claimed.job for claimed in await world.claim(slots=20)]
        assert [row.rescues for row in rows] == [1] * 20

    async def test_a_bounded_sweep_says_whether_more_is_left(self, world: World) -> None:
        await world.jobs.add([world.make(deadline=world.clock.now() + 10) for _ in range(7)])
        world.clock.advance(11)
        first = await world.jobs.recover(limit=3)
        assert (first.expired, first.is_complete) == (3, False)
        assert first.expired + (await world.recover()).expired == 7

    async def test_a_bounded_sweep_frees_all_leases_at_last(self, world: World) -> None:
        await world.jobs.add([world.make() for _ in range(7)])
        await world.claim()
        world.clock.advance(LEASE_SECONDS + 1)
        for _ in range(10):
            await world.jobs.recover(limit=3)
        assert len(await world.claim("two")) == 7

    async def test_a_sweep_of_a_quiet_store_does_nothing(self, world: World) -> None:
        await world.add()
        await world.take()
        swept = await world.recover()
        assert (swept.rescued, swept.expired, swept.due, swept.woken, swept.suspects) == (0, 0, 0, 0, ())


def _want(slots: int) -> Want:
    return Want(queue=QUEUE, lane=LANE, slots=slots)

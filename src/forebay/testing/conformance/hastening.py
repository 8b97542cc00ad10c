"""``hasten``: what waits for a time is due now, and nothing else changes."""

import asyncio

from forebay.domain.job import Status
from forebay.testing.conformance.world import World


class Hastening:
    async def test_a_job_that_waits_for_its_time_is_claimable_at_once(self, world: World) -> None:
        job, other = await world.add(due_at=world.clock.now() + 60), await world.add(due_at=world.clock.now() + 60)
        assert await world.jobs.hasten("default", [job.id]) == [job.id]
        assert (await world.row(job.id)).due_at == world.clock.now()
        assert [claimed.job.id for claimed in await world.claim()] == [job.id]
        world.clock.advance(60)
        assert [claimed.job.id for claimed in await world.claim()] == [other.id]

    async def test_a_snoozed_job_keeps_its_progress(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        await world.answer(claimed, Status.QUEUED, due_at=world.clock.now() + 60, progress='{"version":1}')
        assert await world.jobs.hasten("default", [job.id]) == [job.id]
        [again] = await world.claim()
        assert again.job.progress == '{"version":1}'

    async def test_hastening_twice_is_hastening_once(self, world: World) -> None:
        job = await world.add(due_at=world.clock.now() + 60)
        assert await world.jobs.hasten("default", [job.id, job.id]) == [job.id]
        assert await world.jobs.hasten("default", [job.id]) == []
        assert len(await world.claim()) == 1

    async def test_each_job_is_claimed_once_while_many_make_it_due(self, world: World) -> None:
        jobs = [await world.add(due_at=world.clock.now() + 60) for _ in range(40)]
        ids = [job.id for job in jobs]
        hastened, found, *_ = await asyncio.gather(
            asyncio.gather(*(world.jobs.hasten("default", ids[start:]) for start in (0, 10, 20, 30))),
            asyncio.gather(*(world.claim(name, slots=5) for name in ("one", "two", "three"))),
            world.recover(),
        )
        assert sorted(job_id for one in hastened for job_id in one) == sorted(ids)
        taken = [claimed.job.id for one in found for claimed in one]
        while more := await world.claim("four", slots=20):
            taken += [claimed.job.id for claimed in more]
        assert sorted(taken) == sorted(ids)

    async def test_jobs_that_wait_for_no_time_stay_as_they_are(self, world: World) -> None:
        ended = await world.add()
        await world.answer(await world.take())
        running = await world.add()
        await world.take()
        first, second = await world.add(), await world.add()
        before = [await world.row(job.id) for job in (ended, running, first, second)]
        named = [ended.id, running.id, second.id, first.id, "job_nowhere"]
        assert await world.jobs.hasten("default", named) == []
        assert [await world.row(job.id) for job in (ended, running, first, second)] == before
        assert [claimed.job.id for claimed in await world.claim(slots=2)] == [first.id, second.id]

    async def test_another_tenants_job_is_not_touched(self, world: World) -> None:
        job = await world.add(due_at=world.clock.now() + 60, tenant="acme")
        assert await world.jobs.hasten("default", [job.id]) == []
        assert await world.claim() == []

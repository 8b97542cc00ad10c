"""What a store that keeps its data promises beyond the verbs: commits outlive the process, and processes share them."""

import asyncio

from forebay.domain.change import Want
from forebay.domain.job import Join, Status
from forebay.domain.lesson import Lesson
from forebay.domain.query import Parts
from forebay.domain.stored import StoredRecord
from forebay.ports import Rate
from forebay.testing.conformance.world import LANE, QUEUE, TELL, World, result

PATIENCE_SECONDS = 10.0


class DurableStoreSuite:
    async def test_all_states_outlive_the_process(self, world: World) -> None:
        done = await world.add(on_end=(TELL,))
        await world.answer(await world.take(), result=result("kept"))
        group, [running, _] = await world.family(2, join=Join(live=1))
        attempt = await world.begin(running)
        later = await world.add(due_at=world.clock.now() + 60)
        await world.records.put(StoredRecord(kind="file", id="f"))
        await world.limits.charge("run", 0.5, 1.0)
        await world.reopen()
        row = await world.row(done.id, Parts(result=True))
        assert (row.status, row.result) == (Status.SUCCEEDED, result("kept"))
        assert len(await world.notices(done.id)) == 1
        assert await world.status(group) == Status.WAITING
        assert await world.ledger(running.job.id) == (attempt,)
        assert await world.status(later.id) == Status.QUEUED
        assert await world.records.get("default", "file", "f") is not None
        assert await world.limits.spent("run") == 0.5
        await world.answer(running)
        assert await world.status(group) == Status.QUEUED

    async def test_fences_and_ranks_go_on_after_a_restart(self, world: World) -> None:
        for _ in range(4):
            await world.add(tenant="a")
        before = await world.take()
        await world.reopen()
        after = await world.take()
        assert after.fence > before.fence
        assert after.job.id > before.job.id

    async def test_a_crash_between_commit_and_settle_is_mended_by_the_next_process(self, world: World) -> None:
        group, [child] = await world.family(1)
        await world.jobs.apply([world.change(child)])
        await world.reopen()
        await world.recover()
        assert (await world.take(queue="control")).job.id == group

    async def test_claimers_in_two_processes_share_no_job_and_pass_no_cap(self, world: World) -> None:
        other = await world.second()
        await world.jobs.add([world.make() for _ in range(40)])
        workers = [await world.worker(f"w{n}") for n in range(6)]
        want = [Want(queue=QUEUE, lane=LANE, slots=10, cap=30)]
        stores = [world.jobs, other.jobs]
        claims = await asyncio.gather(*(stores[n % 2].claim(worker, want) for n, worker in enumerate(workers)))
        ids = [one.job.id for claimed in claims for one in claimed]
        assert (len(ids), len(set(ids))) == (30, 30)

    async def test_a_key_added_by_two_processes_together_is_one_job(self, world: World) -> None:
        other = await world.second()
        stores = [world.jobs, other.jobs]
        replies = await asyncio.gather(*(stores[n % 2].add([world.make(key="k")]) for n in range(10)))
        assert sum(added.is_new for [added] in replies) == 1

    async def test_limits_hold_over_two_processes(self, world: World) -> None:
        other = await world.second()
        rate = Rate(name="r", per_second=1.0, burst=10.0)
        grants = await asyncio.gather(*(store.limits.reserve(rate, 1.0) for _ in range(10) for store in (world, other)))
        assert round(sum(grant.granted for grant in grants), 6) == 10

    async def test_a_lesson_is_heard_in_another_process(self, world: World) -> None:
        other = await world.second()
        await world.limits.tell([Lesson(target="t", teller="a", limit=7)], 5.0)
        assert await other.limits.heard(["t"]) == [Lesson(target="t", teller="a", limit=7)]

    async def test_a_watch_hears_of_commits_in_another_process(self, world: World) -> None:
        other = await world.second()
        job = world.make()
        watch = world.jobs.watch([f"ready:{QUEUE}", f"job:{job.id}"])
        await other.jobs.add([job])
        assert f"ready:{QUEUE}" in await watch.next(PATIENCE_SECONDS)
        await other.jobs.cancel("default", [job.id])
        heard: set[str] = set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while f"job:{job.id}" not in heard:
                heard |= await watch.next()
        watch.close()

    async def test_one_process_frees_the_leases_of_another_that_died(self, world: World) -> None:
        other = await world.second()
        job = await world.add()
        await world.begin(await world.take("one"))
        world.clock.advance(31)
        assert (await other.jobs.recover()).rescued == 1
        assert await world.status(job.id) == Status.QUEUED
        assert (await world.jobs.renew(world.known("one"))).is_alive is False

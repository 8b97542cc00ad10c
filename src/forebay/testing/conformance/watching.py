"""``watch``: no commit is missed from the moment a topic was added."""

import asyncio
from collections.abc import Awaitable, Callable

from forebay.domain.job import Status
from forebay.testing.conformance.world import QUEUE, World

PATIENCE_SECONDS = 10.0
READY = f"ready:{QUEUE}"


class Watching:
    async def test_a_new_job_makes_its_queue_ready(self, world: World) -> None:
        await _assert_signals(world, READY, world.add)

    async def test_a_job_that_is_queued_again_makes_its_queue_ready(self, world: World) -> None:
        await world.add()
        claimed = await world.take()
        await _assert_signals(world, READY, lambda: world.answer(claimed, Status.QUEUED))

    async def test_a_job_that_has_fallen_due_makes_its_queue_ready(self, world: World) -> None:
        await world.add(due_at=world.clock.now() + 10)
        world.clock.advance(11)
        await _assert_signals(world, READY, world.recover)

    async def test_a_rescued_job_makes_its_queue_ready(self, world: World) -> None:
        await world.add()
        await world.take()
        await _assert_signals(world, READY, world.lose_workers)

    async def test_what_is_for_any_endpoint_signals_all_that_begins_so(self, world: World) -> None:
        watch = world.jobs.watch(["ready:notify:"])
        await world.add(queue="notify:ops")
        assert await watch.next(PATIENCE_SECONDS) == {"ready:notify:"}
        watch.close()

    async def test_queues_below_a_prefix_are_named_while_something_can_be_claimed(self, world: World) -> None:
        names = [f"notify:{name}" for name in ("a", "b", "c")]
        for queue in (*names, names[0], "notifyx", "other:d"):
            await world.add(queue=queue)
        await world.add(queue="notify:later", not_before=world.clock.now() + 60)
        assert await world.jobs.queues("notify:") == names
        assert await world.jobs.queues("notify:", after=names[0]) == names[1:]
        assert await world.jobs.queues("notify:", limit=2) == names[:2]
        await world.claim(queue=names[1])
        assert await world.jobs.queues("notify:") == [names[0], names[2]]

    async def test_a_retired_worker_makes_its_queues_ready(self, world: World) -> None:
        await world.add()
        await world.take()
        await _assert_signals(world, READY, lambda: world.jobs.retire(world.known()))

    async def test_a_retried_job_makes_its_queue_ready(self, world: World) -> None:
        job = await world.add()
        await world.answer(await world.take(), Status.FAILED)
        await _assert_signals(world, READY, lambda: world.jobs.retry("default", [job.id]))

    async def test_spawned_children_make_their_queue_ready(self, world: World) -> None:
        await _assert_signals(world, READY, lambda: world.spawn([world.make()]))

    async def test_a_woken_parent_makes_its_queue_ready(self, world: World) -> None:
        _, [child] = await world.family(1)
        await _assert_signals(world, "ready:control", lambda: world.answer(child))

    async def test_the_end_of_a_job_is_signalled_by_its_id(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        await _assert_signals(world, f"job:{job.id}", lambda: world.answer(claimed))

    async def test_a_cancel_is_signalled_by_the_jobs_id(self, world: World) -> None:
        job = await world.add()
        await _assert_signals(world, f"job:{job.id}", lambda: world.jobs.cancel("default", [job.id]))

    async def test_an_expiry_is_signalled_by_the_jobs_id(self, world: World) -> None:
        job = await world.add(deadline=world.clock.now() + 10)
        world.clock.advance(11)
        await _assert_signals(world, f"job:{job.id}", world.recover)

    async def test_a_growing_stream_is_signalled_by_the_jobs_id(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        await _assert_signals(world, f"job:{job.id}", lambda: world.jobs.append(job.id, claimed.fence, ["x"]))

    async def test_a_commit_between_two_looks_is_not_missed(self, world: World) -> None:
        watch = world.jobs.watch([READY, "ready:other"])
        await world.add()
        assert READY in await watch.next(PATIENCE_SECONDS)
        await world.add()
        await world.add(queue="other")
        heard: set[str] = set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not {READY, "ready:other"} <= heard:
                heard |= await watch.next()
        watch.close()

    async def test_a_topic_added_later_is_watched_from_then_on(self, world: World) -> None:
        watch = world.jobs.watch()
        job = await world.add()
        watch.add([f"job:{job.id}"])
        await world.jobs.cancel("default", [job.id])
        assert await watch.next(PATIENCE_SECONDS) == {f"job:{job.id}"}
        watch.close()

    async def test_a_watch_hears_nothing_but_its_topics(self, world: World) -> None:
        watch = world.jobs.watch(["job:none", READY])
        watch.discard([READY])
        await world.add()
        assert await watch.next(0.01) <= {"job:none"}
        watch.close()

    async def test_every_watch_of_a_topic_hears_it(self, world: World) -> None:
        watches = [world.jobs.watch([READY]) for _ in range(3)]
        nexts = [asyncio.ensure_future(watch.next(PATIENCE_SECONDS)) for watch in watches]
        await world.add()
        assert await asyncio.gather(*nexts) == [{READY}] * 3
        for watch in watches:
            watch.close()

    async def test_a_watch_without_commits_falls_quiet(self, world: World) -> None:
        watch = world.jobs.watch(["ready:nobody"])
        heard = [await watch.next(0.01) for _ in range(20)]  # a hint without a cause is allowed, one each time is not
        assert set() in heard
        watch.close()


async def _assert_signals(world: World, topic: str, step: Callable[[], Awaitable[object]]) -> None:
    watch = world.jobs.watch([topic])
    await step()
    assert await watch.next(PATIENCE_SECONDS) == {topic}
    watch.close()

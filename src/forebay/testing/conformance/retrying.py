"""``retry`` and ``erase``: what can be done with jobs that have ended."""

import pytest
from msgspec.structs import replace

from forebay.domain.answer import Taking
from forebay.domain.attempt import Outcome, Usage
from forebay.domain.change import Lookup, Tally
from forebay.domain.content import Content, Segment
from forebay.domain.job import ErrorCode, JobError, Spec, Status, Taken
from forebay.domain.pipeline import RUN_KINDS
from forebay.domain.query import Parts
from forebay.testing.conformance.world import DAY, SOME_ERROR, TELL, World, result

ONE = Usage(input_tokens=10, output_tokens=1)


class Retrying:
    @pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
    async def test_a_dead_job_is_queued_again_with_fresh_attempts_and_its_ledger(
        self, world: World, status: Status
    ) -> None:
        job = await world.add()
        claimed = await world.take()
        attempt = await world.begin(claimed)
        await world.answer(claimed, status, attempts=(world.completed(attempt),), attempts_used=5, error=SOME_ERROR)
        [reply] = await world.jobs.retry("default", [job.id])
        assert (reply.id, reply.lookup, reply.status) == (job.id, Lookup.DONE, Status.QUEUED)
        row = await world.row(job.id)
        assert (row.status, row.attempts_used, row.finished_at) == (Status.QUEUED, 0, None)
        again = await world.take()
        assert (again.job.id, again.job.body, again.job.attempt_count) == (job.id, job.body, 1)
        await world.begin(again)
        assert [one.number for one in await world.ledger(job.id)] == [1, 2]

    async def test_a_retried_job_has_a_deadline_of_the_same_length_every_time(self, world: World) -> None:
        job = await world.add(deadline=world.clock.now() + 100)
        for _ in range(2):
            await world.answer(await world.take(), Status.FAILED)
            world.clock.advance(500)
            await world.jobs.retry("default", [job.id])
            assert (await world.row(job.id)).deadline == world.clock.now() + 100

    async def test_an_exhausted_job_has_all_its_attempts_again(self, world: World) -> None:
        job = await world.add()
        await world.answer(await world.take(), Status.FAILED, attempts_used=5)
        await world.jobs.retry("default", [job.id])
        assert (await world.take()).job.attempts_used == 0

    async def test_a_retried_job_can_end_well(self, world: World) -> None:
        job = await world.add()
        await world.answer(await world.take(), Status.FAILED, result=result("no"))
        await world.jobs.retry("default", [job.id])
        await world.answer(await world.take(), result=result("yes"))
        row = await world.row(job.id, Parts(result=True))
        assert (row.status, row.error, row.result) == (Status.SUCCEEDED, None, result("yes"))

    async def test_a_cancelled_job_that_was_retried_is_not_cancelled_any_more(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        await world.jobs.cancel("default", [job.id])
        await world.answer(claimed, Status.QUEUED)
        await world.jobs.retry("default", [job.id])
        claimed = await world.take()
        assert claimed.job.ending is None
        assert (await world.jobs.renew(await world.worker())).stopping == ()
        await world.answer(claimed, Status.QUEUED)
        assert await world.status(job.id) == Status.QUEUED

    async def test_live_and_succeeded_jobs_are_not_retried(self, world: World) -> None:
        succeeded, running, queued = [await world.add() for _ in range(3)]
        await world.answer(await world.take())
        await world.take()
        ids = [succeeded.id, running.id, queued.id, "job_unknown"]
        replies = await world.jobs.retry("default", ids)
        assert [reply.lookup for reply in replies] == [Lookup.NOT_DEAD] * 3 + [Lookup.NOT_FOUND]
        assert await world.status(succeeded.id) == Status.SUCCEEDED
        assert await world.status(running.id) == Status.RUNNING

    async def test_a_retry_twice_queues_a_job_once(self, world: World) -> None:
        job = await world.add()
        await world.answer(await world.take(), Status.FAILED)
        replies = await world.jobs.retry("default", [job.id, job.id])
        assert [reply.lookup for reply in replies] == [Lookup.DONE, Lookup.NOT_DEAD]
        assert len(await world.claim()) == 1

    async def test_a_dead_child_is_live_again_for_the_join_of_its_parent(self, world: World) -> None:
        group, [one, two] = await world.family(2)
        await world.answer(one, Status.FAILED)
        await world.jobs.retry("default", [one.job.id])
        await world.answer(two)
        assert await world.status(group) == Status.WAITING
        await world.answer(await world.take())
        assert await world.status(group) == Status.QUEUED

    async def test_a_collected_child_that_is_retried_is_counted_anew(self, world: World) -> None:
        group, [one, _] = await world.family(2)
        await world.answer(one, Status.FAILED, usage=ONE, cost_usd=0.25)
        await world.jobs.cancel("default", [(await world.children(group))[1].id])
        await world.lose_workers()
        taking = Taking(collect=(one.job.id,))
        await world.answer(await world.take(queue="control"), Status.WAITING, taking=taking)
        woken = await world.take(queue="control")
        await world.jobs.retry("default", [one.job.id])
        assert await world.jobs.tally([group]) == [Tally(live=1, cancelled=1, usage=ONE, cost_usd=0.25)]
        assert one.job.id in {row.id for row in await world.children(group, is_collected=False)}
        again = await world.take()
        await world.answer(again, usage=ONE, cost_usd=0.25)
        await world.answer(woken, taking=taking)
        row = await world.row(group)
        assert row.taken == Taken(succeeded=1)
        assert (row.usage, row.cost_usd) == (ONE.plus(ONE), 0.5)

    async def test_a_child_of_an_ended_parent_is_not_retried(self, world: World) -> None:
        group, [one] = await world.family(1)
        await world.answer(one, Status.FAILED)
        await world.answer(await world.take(queue="control"))
        [reply] = await world.jobs.retry("default", [one.job.id])
        assert (reply.lookup, reply.status) == (Lookup.PARENT_ENDED, Status.FAILED)
        assert await world.status(one.job.id) == Status.FAILED
        assert await world.status(group) == Status.SUCCEEDED

    async def test_a_dead_group_is_retried_with_its_progress_and_its_dead_children(self, world: World) -> None:
        group, [good, bad, gone] = await world.family(3)
        await world.answer(good)
        await world.answer(bad, Status.FAILED)
        await world.answer(gone, Status.CANCELLED)
        await world.answer(await world.take(queue="control"), Status.FAILED, progress='{"version": 1, "at": 3}')
        [reply] = await world.jobs.retry("default", [group])
        assert (reply.lookup, reply.status) == (Lookup.DONE, Status.QUEUED)
        statuses = [row.status for row in await world.children(group)]
        assert statuses == [Status.SUCCEEDED, Status.QUEUED, Status.QUEUED]
        claimed = await world.take(queue="control")
        assert (claimed.job.progress, claimed.job.ending) == ('{"version": 1, "at": 3}', None)

    async def test_a_cancelled_group_that_was_retried_runs_like_any(self, world: World) -> None:
        group = await world.spawn([world.make()])
        await world.jobs.cancel("default", [group.job.id])
        await world.answer(await world.take(queue="control"))
        await world.jobs.retry("default", [group.job.id])
        claimed = await world.take(queue="control")
        assert claimed.job.ending is None
        await world.answer(claimed, Status.WAITING)
        assert await world.status(group.job.id) == Status.WAITING
        await world.answer(await world.take())
        await world.answer(await world.take(queue="control"))
        assert await world.status(group.job.id) == Status.SUCCEEDED

    async def test_a_retried_job_tells_of_each_of_its_ends(self, world: World) -> None:
        job = await world.add(on_end=(TELL,))
        await world.answer(await world.take(), Status.FAILED)
        await world.jobs.retry("default", [job.id])
        await world.answer(await world.take())
        told = [world.args((await world.take(queue=TELL.queue)).job) for _ in range(2)]
        statuses = [args["status"] for args in told if isinstance(args, dict)]
        assert sorted(statuses) == ["failed", "succeeded"]

    async def test_an_expired_job_lives_again_until_its_new_deadline(self, world: World) -> None:
        job = await world.add(deadline=world.clock.now() + 10)
        world.clock.advance(11)
        await world.recover()
        await world.jobs.retry("default", [job.id])
        assert (await world.take()).job.id == job.id


class Erasing:
    async def test_an_erased_job_keeps_its_row_and_its_ledger_alone(self, world: World) -> None:
        job = await world.add(body=Content(blob_id="blob_body", bytes=9), blobs=("blob_more",))
        claimed = await world.take()
        attempt = await world.begin(claimed)
        await world.jobs.append(job.id, claimed.fence, ["data: secret\n\n"])
        answer = result("secret")
        await world.answer(claimed, attempts=(world.completed(attempt),), result=answer)
        [reply] = await world.jobs.erase("default", [job.id])
        assert (reply.lookup, reply.status) == (Lookup.DONE, Status.SUCCEEDED)
        row = await world.row(job.id, Parts(body=True, result=True, attempts=True))
        assert (row.status, row.body, row.result) == (Status.SUCCEEDED, None, None)
        assert len(row.attempts) == 1
        assert await world.jobs.read(job.id) == []
        assert sorted(await world.jobs.orphans(["blob_body", "blob_more"])) == ["blob_body", "blob_more"]

    async def test_an_erased_job_keeps_its_error_s_code_and_no_words(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        attempt = await world.begin(claimed)
        refused = world.completed(attempt, Outcome.REJECTED, error="no answer to 'secret'")
        error = JobError(code=ErrorCode.TARGET_REJECTED, message="no answer to 'secret'")
        await world.answer(claimed, Status.FAILED, attempts=(refused,), error=error)
        await world.jobs.erase("default", [job.id])
        row = await world.row(job.id, Parts(attempts=True))
        assert row.error == JobError(code=ErrorCode.TARGET_REJECTED, message="")
        assert [(one.outcome, one.error) for one in row.attempts] == [(Outcome.REJECTED, None)]

    @pytest.mark.parametrize("kind", RUN_KINDS)
    async def test_an_erased_job_of_a_run_keeps_neither_what_it_was_told_nor_how_far_it_was(
        self, world: World, kind: str
    ) -> None:
        job = await world.add(kind=kind, is_group=True, spec=Spec(args='{"secret": "\\u0000"}', timeout_seconds=7.0))
        await world.answer(await world.take(), progress='{"secret": 1}')
        await world.jobs.erase("default", [job.id])
        row = await world.row(job.id)
        assert (row.spec, row.progress) == (Spec(timeout_seconds=7.0), None)
        other = await world.add(kind="batch", is_group=True, spec=Spec(args="{}"))
        await world.answer(await world.take(), progress='{"version": 1}')
        await world.jobs.erase("default", [other.id])
        row = await world.row(other.id)
        assert (row.spec.args, row.progress) == ("{}", '{"version": 1}')

    async def test_erasing_is_idempotent(self, world: World) -> None:
        job = await world.add()
        await world.answer(await world.take())
        for _ in range(2):
            [reply] = await world.jobs.erase("default", [job.id])
            assert reply.lookup == Lookup.DONE

    async def test_a_segment_is_rewritten_in_its_place_and_only_once(self, world: World) -> None:
        pieces = tuple(Segment(name="errors", blob_id=f"blob_{n}", lines=1, bytes=9) for n in (1, 2))
        group = await world.put(world.make_group())
        await world.answer(await world.take(queue=group.queue), taking=Taking(segments=pieces))
        first, second = await world.jobs.segments(group.id, "errors")
        assert await world.jobs.rewrite(group.id, first, "blob_3")
        assert not await world.jobs.rewrite(group.id, first, "blob_4"), (
            "the segment that was read is not there any more"
        )
        assert await world.jobs.segments(group.id, "errors") == [replace(first, blob_id="blob_3"), second]
        assert sorted(await world.jobs.orphans(["blob_1", "blob_2", "blob_3"])) == ["blob_1"]

    async def test_a_live_job_is_not_erased(self, world: World) -> None:
        job = await world.add(deadline=world.clock.now() + DAY)
        [live, unknown] = await world.jobs.erase("default", [job.id, "job_unknown"])
        assert (live.lookup, unknown.lookup) == (Lookup.NOT_DEAD, Lookup.NOT_FOUND)
        assert (await world.take()).job.body == job.body

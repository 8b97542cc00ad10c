"""``apply``: what each status does to a job, and what is written together or not at all."""

import pytest

from forebay.domain.change import Verdict
from forebay.domain.content import Content
from forebay.domain.job import Ending, Join, Notice, Result, Status
from forebay.domain.query import JobQuery, Parts
from forebay.testing.conformance.world import SOME_ERROR, World, result


class Answers:
    async def test_a_succeeded_job_keeps_its_result(self, world: World) -> None:
        job = await world.add()
        world.clock.advance(7)
        await world.answer(await world.take(), result=result("yes"), progress='{"version": 1}')
        row = await world.row(job.id, Parts(result=True, body=True))
        assert (row.status, row.finished_at, row.error) == (Status.SUCCEEDED, world.clock.now(), None)
        assert (row.result, row.body, row.progress) == (result("yes"), job.body, '{"version": 1}')

    async def test_a_failed_job_keeps_its_error_and_the_models_own_words(self, world: World) -> None:
        job = await world.add()
        refusal = Result(status_code=400, body=Content(text='{"error": "no"}'))
        await world.answer(await world.take(), Status.FAILED, result=refusal, error=SOME_ERROR, attempts_used=1)
        row = await world.row(job.id, Parts(result=True))
        assert (row.status, row.error, row.result, row.attempts_used) == (Status.FAILED, SOME_ERROR, refusal, 1)

    async def test_a_result_may_stand_in_a_blob(self, world: World) -> None:
        job = await world.add()
        large = Result(status_code=200, body=Content(blob_id="blob_large", bytes=10**9))
        await world.answer(await world.take(), result=large)
        assert (await world.row(job.id, Parts(result=True))).result == large

    async def test_a_retried_job_is_queued_with_its_error(self, world: World) -> None:
        job = await world.add()
        due_at = world.clock.now() + 30
        await world.answer(await world.take(), Status.QUEUED, due_at=due_at, error=SOME_ERROR, attempts_used=1)
        row = await world.row(job.id)
        assert (row.status, row.due_at, row.error, row.attempts_used) == (Status.QUEUED, due_at, SOME_ERROR, 1)
        assert row.finished_at is None

    async def test_fields_that_an_answer_leaves_out_stay_as_they_were(self, world: World) -> None:
        job = await world.add()
        await world.answer(await world.take(), Status.QUEUED, progress='{"version": 1}')
        await world.answer(await world.take(), Status.QUEUED)
        await world.answer(await world.take())
        assert (await world.row(job.id)).progress == '{"version": 1}'

    async def test_a_success_after_a_failed_try_has_no_error(self, world: World) -> None:
        job = await world.add()
        await world.answer(await world.take(), Status.QUEUED, error=SOME_ERROR)
        await world.answer(await world.take())
        row = await world.row(job.id)
        assert (row.status, row.error) == (Status.SUCCEEDED, None)

    async def test_many_answers_are_applied_by_one_call(self, world: World) -> None:
        jobs = [await world.add() for _ in range(50)]
        claimed = await world.claim(slots=50)
        await world.jobs.apply([world.change(one) for one in claimed])
        assert {await world.status(job.id) for job in jobs} == {Status.SUCCEEDED}


class Spawning:
    async def test_children_are_added_and_their_parent_waits(self, world: World) -> None:
        group, children = await world.family(3, join=Join(live=1))
        row = await world.row(group)
        assert (row.status, row.join) == (Status.WAITING, Join(live=1))
        assert [one.job.parent_id for one in children] == [group] * 3
        assert await world.claim(queue="control") == []

    async def test_spawning_again_adds_nothing(self, world: World) -> None:
        group, [one, two] = await world.family(2)
        await world.answer(one)
        await world.answer(two, Status.FAILED)
        again = await world.take(queue="control")
        await world.answer(again, Status.WAITING, children=world.under(group, [world.make() for _ in range(3)]))
        rows = await world.children(group)
        assert [row.id for row in rows[:2]] == [one.job.id, two.job.id]
        assert [row.status for row in rows] == [Status.SUCCEEDED, Status.FAILED, Status.QUEUED]

    async def test_a_leaf_that_waits_for_children_is_a_group_from_then_on(self, world: World) -> None:
        leaf = await world.add()
        first = await world.take()
        assert not first.job.is_group
        await world.answer(first, Status.WAITING, children=world.under(leaf.id, [world.make()]), progress="{}")
        await world.answer(await world.take())
        woken = await world.take()
        assert (woken.job.id, woken.job.is_group, woken.job.progress) == (leaf.id, True, "{}")
        assert (await world.row(leaf.id)).is_group
        await world.answer(woken, Status.WAITING, children=world.under(leaf.id, [world.make(key="more")]))
        await world.jobs.cancel("default", [leaf.id])
        assert [row.status for row in await world.children(leaf.id)] == [Status.SUCCEEDED, Status.CANCELLED]
        assert await world.status(leaf.id) == Status.QUEUED
        last = await world.take()
        assert (last.job.id, last.job.ending) == (leaf.id, Ending.CANCEL)
        await world.answer(last)
        assert await world.status(leaf.id) == Status.CANCELLED
        await world.jobs.retry("default", [leaf.id])
        again = {claimed.job.id: claimed.job for claimed in await world.claim()}
        assert (len(again), again[leaf.id].is_group, again[leaf.id].progress) == (2, True, "{}")

    async def test_children_of_two_groups_may_have_the_same_keys(self, world: World) -> None:
        groups = [(await world.family(2))[0] for _ in range(2)]
        assert [len(await world.children(group)) for group in groups] == [2, 2]

    async def test_a_spawned_child_has_no_later_deadline_than_its_parent(self, world: World) -> None:
        deadline = world.clock.now() + 60
        _, [child] = await world.family(1, deadline=deadline)
        assert child.job.deadline == deadline

    async def test_an_ended_parent_leaves_no_live_child(self, world: World) -> None:
        group, [winner, running] = await world.family(2, join=Join(successes=1))
        await world.jobs.add([world.make(parent_id=group, key="queued")])
        await world.answer(winner)
        await world.answer(await world.take(queue="control"))
        assert [row.status for row in await world.children(group)] == [
            Status.SUCCEEDED,
            Status.RUNNING,
            Status.CANCELLED,
        ]
        assert (await world.jobs.renew(await world.worker())).stopping == (running.job.id,)
        await world.answer(running, Status.QUEUED)
        assert await world.status(running.job.id) == Status.CANCELLED

    async def test_an_ended_parent_leaves_no_live_grandchild(self, world: World) -> None:
        top = await world.spawn([world.make_group()], join=Join(live=5))
        inner = await world.take(queue="control")
        await world.answer(inner, Status.WAITING, children=world.under(inner.job.id, [world.make()]))
        await world.jobs.settle([top.job.id])
        await world.answer(await world.take(queue="control"))
        assert [row.status for row in await world.children(inner.job.id)] == [Status.CANCELLED]
        assert await world.claim() == []

    async def test_answers_of_leaves_and_of_groups_are_applied_by_one_call(self, world: World) -> None:
        group = await world.put(world.make_group())
        one, two = await world.add(), await world.add()
        spawning = await world.take(queue="control")
        leaves = await world.claim()
        children = world.under(group.id, [world.make()])
        changes = [
            world.change(leaves[0]),
            world.change(spawning, Status.WAITING, children=children),
            world.change(leaves[1], Status.FAILED),
        ]
        assert await world.jobs.apply(changes) == [Verdict.APPLIED] * 3
        statuses = [await world.status(job_id) for job_id in (one.id, group.id, two.id, children[0].id)]
        assert statuses == [Status.SUCCEEDED, Status.WAITING, Status.FAILED, Status.QUEUED]

    @pytest.mark.parametrize("is_parent_first", [False, True])
    @pytest.mark.parametrize(
        ("answered", "expected"), [(Status.SUCCEEDED, Status.SUCCEEDED), (Status.QUEUED, Status.CANCELLED)]
    )
    async def test_a_parent_and_its_child_that_answer_together_both_count(
        self, world: World, is_parent_first: bool, answered: Status, expected: Status
    ) -> None:
        group, [winner, child] = await world.family(2, join=Join(successes=1))
        await world.answer(winner)
        parent = await world.take(queue="control")
        changes = [world.change(child, answered), world.change(parent)]
        verdicts = await world.jobs.apply(changes[::-1] if is_parent_first else changes)
        assert verdicts == [Verdict.APPLIED] * 2
        assert (await world.status(group), await world.status(child.job.id)) == (Status.SUCCEEDED, expected)


class Outbox:
    async def test_the_end_of_a_root_adds_its_notices(self, world: World) -> None:
        tell = Notice(kind="notify", queue="notify:ops", args='{"url": "https://x"}', lifespan_seconds=99.0)
        job = await world.add(tenant="acme", on_end=(tell, Notice(kind="audit", queue="control")))
        world.clock.advance(1)
        await world.answer(await world.take())
        first, second = await world.notices(job.id)
        now = world.clock.now()
        assert (first.kind, first.queue, first.key) == ("notify", "notify:ops", f"end:{job.id}:0")
        assert (first.tenant, first.parent_id, first.status) == ("acme", "", Status.QUEUED)
        assert (first.created_at, first.deadline) == (now, now + 99.0)
        assert world.args(first) == {"url": "https://x", "job_id": job.id, "status": "succeeded"}
        assert (second.kind, second.queue, second.key) == ("audit", "control", f"end:{job.id}:1")
        assert world.args(second) == {"job_id": job.id, "status": "succeeded"}

    async def test_a_notice_is_for_the_ends_that_it_names(self, world: World) -> None:
        bad = Notice(kind="notify", queue="notify:bad", statuses=(Status.FAILED, Status.CANCELLED))
        good = Notice(kind="notify", queue="notify:good", statuses=(Status.SUCCEEDED,))
        done, failed = [await world.add(on_end=(bad, good)) for _ in range(2)]
        first, second = await world.claim()
        await world.answer(first)
        await world.answer(second, Status.FAILED)
        assert [notice.queue for notice in await world.notices(done.id)] == ["notify:good"]
        assert [notice.queue for notice in await world.notices(failed.id)] == ["notify:bad"]

    async def test_a_notice_is_found_by_its_labels_and_its_owner(self, world: World) -> None:
        tell = Notice(kind="notify", queue="notify:ops", metadata={"endpoint": "ops"})
        job = await world.add(on_end=(tell, Notice(kind="notify", queue="notify:x")))
        await world.answer(await world.take())
        for labels in ({"endpoint": "ops"}, {"job_id": job.id}, {"endpoint": "ops", "job_id": job.id}):
            [found] = await world.jobs.find(JobQuery(tenant=None, kinds=frozenset({"notify"}), metadata=labels))
            assert found.spec.metadata == {"endpoint": "ops", "job_id": job.id}

    async def test_a_notice_is_claimed_like_any_job(self, world: World) -> None:
        job = await world.add(on_end=(Notice(kind="notify", queue="notify:ops"),))
        await world.answer(await world.take(), Status.FAILED)
        claimed = await world.take(queue="notify:ops")
        assert world.args(claimed.job) == {"job_id": job.id, "status": "failed"}
        await world.answer(claimed)

    async def test_a_job_that_has_not_ended_tells_nobody(self, world: World) -> None:
        job = await world.add(on_end=(Notice(kind="notify", queue="notify:ops"),))
        await world.answer(await world.take(), Status.QUEUED)
        assert await world.notices(job.id) == []

    async def test_the_end_of_a_child_tells_nobody(self, world: World) -> None:
        tell = (Notice(kind="notify", queue="notify:ops"),)
        group = await world.spawn([world.make(on_end=tell) for _ in range(3)])
        done, failed, gone = await world.claim()
        await world.answer(done)
        await world.answer(failed, Status.FAILED)
        await world.jobs.cancel("default", [gone.job.id])
        await world.answer(gone, Status.QUEUED)
        assert await world.claim(queue="notify:ops") == []
        assert await world.status(group.job.id) == Status.QUEUED

    async def test_a_stale_answer_tells_nobody(self, world: World) -> None:
        job = await world.add(on_end=(Notice(kind="notify", queue="notify:ops"),))
        stale = await world.take("one")
        await world.lose_workers()
        await world.jobs.apply([world.change(stale)])
        assert await world.notices(job.id) == []

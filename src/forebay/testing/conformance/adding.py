"""``add``: what is new, what is known already, and what a child of an ended parent becomes."""

import asyncio

import pytest

from forebay.domain.change import Added
from forebay.domain.content import Content
from forebay.domain.job import Join, Notice, OnUnknown, Spec, Status
from forebay.domain.query import Parts
from forebay.testing.conformance.world import DAY, World

EVERYTHING = Parts(body=True, result=True, attempts=True, segments=True)


class Adding:
    async def test_an_added_job_is_read_back_whole(self, world: World) -> None:
        job = world.make(
            tenant="acme",
            key="k",
            fingerprint="f",
            origin="o",
            awaited=True,
            priority=7,
            tokens=123,
            weight=2.5,
            not_before=world.clock.now() + 60,
            due_at=world.clock.now() + 60,
            spec=Spec(
                target="mill",
                model="m",
                endpoint="/v1/chat/completions",
                timeout_seconds=9.5,
                max_attempts=3,
                on_unknown=OnUnknown.HOLD,
                budget_usd=0.25,
                stream=True,
                keep_call=True,
                data_class="internal",
                metadata={"team": "a", "ünï": "cödé"},
                args='{"schema": {}}',
            ),
            on_end=(Notice(kind="notify", queue="notify:x"),),
            blobs=("blob_1",),
            progress='{"version": 1}',
        )
        assert await world.jobs.add([job]) == [Added(id=job.id, is_new=True, status=Status.QUEUED, fingerprint="f")]
        assert await world.jobs.get("acme", [job.id], EVERYTHING) == [job]

    async def test_a_body_comes_back_byte_for_byte(self, world: World) -> None:
        text = '{"b":1,  "a":\t"\\u00e9 é 😀 \\u2028", "n": 1.0e400, "n": 12345678901234567890}'
        job = await world.add(body=Content(text=text))
        assert (await world.row(job.id, Parts(body=True))).body == Content(text=text)
        assert (await world.take()).job.body == Content(text=text)

    async def test_replies_come_in_the_order_of_the_jobs(self, world: World) -> None:
        jobs = [world.make(key=str(n % 7)) for n in range(20)]
        added = await world.jobs.add(jobs)
        assert [one.id for one in added] == [jobs[n % 7].id for n in range(20)]
        assert [one.is_new for one in added] == [n < 7 for n in range(20)]

    async def test_a_known_key_adds_nothing_and_names_the_first_job(self, world: World) -> None:
        first = await world.add(key="k", fingerprint="f1")
        [again] = await world.jobs.add([world.make(key="k", fingerprint="f2")])
        assert again == Added(id=first.id, is_new=False, status=Status.QUEUED, fingerprint="f1")
        assert len(await world.claim()) == 1

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
    async def test_a_key_is_known_in_whatever_state_its_job_is(self, world: World, status: Status) -> None:
        first = await world.add(key="k")
        await world.answer(await world.take(), status, due_at=world.clock.now() + 60)
        [again] = await world.jobs.add([world.make(key="k")])
        assert (again.id, again.is_new, again.status) == (first.id, False, status)

    async def test_a_key_is_known_while_its_job_runs_or_waits(self, world: World) -> None:
        group = await world.put(world.make_group(key="k"))
        claimed = await world.take(queue="control")
        assert (await world.jobs.add([world.make(key="k")]))[0].status == Status.RUNNING
        await world.answer(claimed, Status.WAITING, children=world.under(group.id, [world.make()]))
        assert (await world.jobs.add([world.make(key="k")]))[0].status == Status.WAITING

    async def test_the_same_key_of_another_tenant_or_another_parent_is_another_job(self, world: World) -> None:
        parents = [await world.put(world.make_group()) for _ in range(2)]
        places = [("a", ""), ("b", ""), ("a", parents[0].id), ("a", parents[1].id)]
        jobs = [world.make(key="k", tenant=tenant, parent_id=parent) for tenant, parent in places]
        assert [one.is_new for one in await world.jobs.add(jobs)] == [True] * 4
        assert [one.is_new for one in await world.jobs.add(jobs)] == [False] * 4

    async def test_jobs_without_a_key_are_all_new(self, world: World) -> None:
        added = await world.jobs.add([world.make() for _ in range(3)])
        assert [one.is_new for one in added] == [True] * 3

    async def test_a_known_id_adds_nothing(self, world: World) -> None:
        job = await world.add(key="one")
        [again] = await world.jobs.add([world.make(id=job.id, key="two", priority=50)])
        assert (again.id, again.is_new) == (job.id, False)
        assert (await world.row(job.id)).key == "one"

    async def test_of_many_that_add_one_key_together_one_is_new(self, world: World) -> None:
        replies = await asyncio.gather(*(world.jobs.add([world.make(key="k")]) for _ in range(20)))
        assert sum(added.is_new for [added] in replies) == 1
        assert len({added.id for [added] in replies}) == 1

    async def test_a_thousand_jobs_are_added_by_one_call(self, world: World) -> None:
        added = await world.jobs.add([world.make(key=str(n)) for n in range(1000)])
        assert sum(one.is_new for one in added) == 1000
        assert len({one.job.id for one in await world.claim(slots=1000)}) == 1000

    async def test_a_group_and_its_children_are_added_by_one_call(self, world: World) -> None:
        group = world.make_group(deadline=world.clock.now() + 60)
        children = world.under(group.id, [world.make(), world.make()])
        added = await world.jobs.add([children[0], group, children[1]])
        assert [one.is_new for one in added] == [True] * 3
        assert [row.deadline for row in await world.children(group.id)] == [group.deadline] * 2

    async def test_a_child_has_no_later_deadline_than_its_parent(self, world: World) -> None:
        now = world.clock.now()
        group = await world.put(world.make_group(deadline=now + 100))
        late, early = (
            world.make(parent_id=group.id, deadline=now + DAY),
            world.make(parent_id=group.id, deadline=now + 9),
        )
        await world.jobs.add([late, early])
        assert [(await world.row(job.id)).deadline for job in (late, early)] == [now + 100, now + 9]

    async def test_a_child_added_under_an_ended_parent_is_added_as_ended(self, world: World) -> None:
        for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED):
            group = await world.put(world.make_group())
            await world.answer(await world.take(queue="control"), status)
            [added] = await world.jobs.add([world.make(parent_id=group.id, key="late")])
            assert added.is_new
            assert added.status.is_terminal
        assert await world.claim() == []

    async def test_a_child_added_under_a_cancel_is_added_as_cancelled(self, world: World) -> None:
        group, _ = await world.family(1)
        await world.jobs.cancel("default", [group])
        [added] = await world.jobs.add([world.make(parent_id=group, key="late")])
        assert (added.is_new, added.status) == (True, Status.CANCELLED)
        assert await world.claim() == []

    async def test_a_child_added_under_an_expiry_is_added_as_expired(self, world: World) -> None:
        group = await world.spawn([world.make()], deadline=world.clock.now() + 10)
        world.clock.advance(11)
        await world.recover()
        late = world.make(parent_id=group.job.id, key="late")
        [added] = await world.jobs.add([late])
        assert (added.is_new, added.status) == (True, Status.FAILED)
        row = await world.row(late.id)
        assert row.error is not None
        assert row.error.code == "expired"
        assert row.finished_at == world.clock.now()

    async def test_a_waiting_parent_does_not_wake_while_an_added_child_is_live(self, world: World) -> None:
        group, [one] = await world.family(1, join=Join())
        await world.jobs.add([world.make(parent_id=group, key="more")])
        await world.answer(one)
        assert await world.status(group) == Status.WAITING

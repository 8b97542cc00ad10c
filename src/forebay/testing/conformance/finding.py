"""``get``, ``find`` and ``depths``: what readers see, and of whom."""

import pytest
from msgspec.structs import replace

from forebay.domain.change import Lookup
from forebay.domain.job import Job, Spec, Status
from forebay.domain.query import JobQuery, Parts
from forebay.testing.conformance.world import QUEUE, SOME_ERROR, World, result


class Finding:
    async def test_the_time_is_that_of_the_stores_clock(self, world: World) -> None:
        assert await world.jobs.now() == world.clock.now()
        world.clock.advance(90)
        assert await world.jobs.now() == world.clock.now()

    async def test_roots_come_newest_first(self, world: World) -> None:
        jobs = [await world.add() for _ in range(3)]
        assert _ids(await world.jobs.find(_all())) == [job.id for job in reversed(jobs)]
        assert _ids(await world.jobs.find(_all(is_ascending=True))) == [job.id for job in jobs]

    @pytest.mark.parametrize("is_ascending", [False, True])
    async def test_pages_join_without_gap_or_repeat_while_jobs_are_added(
        self, world: World, is_ascending: bool
    ) -> None:
        jobs = [await world.add() for _ in range(7)]
        seen: list[str] = []
        for _ in range(3):
            page = await world.jobs.find(_all(limit=3, after=seen[-1] if seen else None, is_ascending=is_ascending))
            seen += _ids(page)
            if not is_ascending:
                await world.add()
        expected = [job.id for job in jobs]
        assert seen == (expected if is_ascending else expected[::-1])

    async def test_children_come_in_the_order_of_their_keys(self, world: World) -> None:
        children = [world.make(key=key) for key in ("c", "a", "d", "b")]
        group = await world.spawn(children)
        query = _all(parent_id=group.job.id, is_ascending=True, limit=2)
        first = await world.jobs.find(query)
        second = await world.jobs.find(_all(parent_id=group.job.id, is_ascending=True, limit=2, after=first[-1].id))
        assert [job.key for job in (*first, *second)] == ["a", "b", "c", "d"]

    async def test_the_rows_of_roots_of_children_and_of_both(self, world: World) -> None:
        group = await world.spawn([world.make()])
        [child] = await world.children(group.job.id)
        root = group.job.id
        assert _ids(await world.jobs.find(_all())) == [root]
        assert _ids(await world.jobs.find(_all(parent_id=root))) == [child.id]
        assert sorted(_ids(await world.jobs.find(_all(parent_id=None)))) == sorted([root, child.id])

    @pytest.mark.parametrize(
        ("fields", "asked"),
        [
            ({"kind": "batch"}, {"kinds": frozenset({"batch", "fanout"})}),
            ({"spec": Spec(target="t", model="m")}, {"target": "t"}),
            ({"spec": Spec(target="t", model="m")}, {"model": "m"}),
            ({"origin": "o1"}, {"origin": "o1"}),
            ({"key": "k1"}, {"key": "k1"}),
            ({"spec": Spec(metadata={"a": "1", "b": "2"})}, {"metadata": {"b": "2"}}),
            ({"spec": Spec(metadata={"a.b 'c\"": "1"})}, {"metadata": {"a.b 'c\"": "1"}}),
        ],
    )
    async def test_a_filter_finds_those_that_match_alone(
        self, world: World, fields: dict[str, object], asked: dict[str, object]
    ) -> None:
        await world.add(spec=Spec(target="x", model="y", metadata={"b": "3"}), origin="o2", key="k2")
        wanted = await world.add(**fields)
        assert _ids(await world.jobs.find(_all(**asked))) == [wanted.id]

    async def test_kinds_can_be_left_out(self, world: World) -> None:
        infer, _, batch = [await world.add(kind=kind) for kind in ("infer", "notify", "batch")]
        found = await world.jobs.find(_all(without_kinds=frozenset({"notify"})))
        assert _ids(found) == [batch.id, infer.id]

    async def test_jobs_are_found_by_state_and_by_the_code_of_their_error(self, world: World) -> None:
        failed, good, queued = [await world.add() for _ in range(3)]
        await world.answer(await world.take(), Status.FAILED, error=SOME_ERROR)
        await world.answer(await world.take())
        assert _ids(await world.jobs.find(_all(statuses=frozenset({Status.FAILED})))) == [failed.id]
        both = frozenset({Status.SUCCEEDED, Status.QUEUED})
        assert _ids(await world.jobs.find(_all(statuses=both))) == [queued.id, good.id]
        assert _ids(await world.jobs.find(_all(code=SOME_ERROR.code))) == [failed.id]
        assert await world.jobs.find(_all(code="poison")) == []

    async def test_jobs_are_found_by_the_time_they_were_made(self, world: World) -> None:
        start = world.clock.now()
        jobs = []
        for _ in range(3):
            jobs.append(await world.add())
            world.clock.advance(10)
        found = await world.jobs.find(_all(created_after=start + 5, created_before=start + 15))
        assert _ids(found) == [jobs[1].id]

    async def test_filters_are_joined_by_and(self, world: World) -> None:
        await world.add(key="k1", origin="o2")
        wanted = await world.add(key="k2", origin="o1")
        await world.add(key="k3", origin="o2")
        assert _ids(await world.jobs.find(_all(origin="o1", key="k2"))) == [wanted.id]
        assert await world.jobs.find(_all(origin="o2", key="k2")) == []

    async def test_a_read_has_the_parts_that_it_asks_for(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        attempt = world.completed(await world.begin(claimed))
        await world.answer(claimed, attempts=(attempt,))
        [bare] = await world.jobs.find(_all())
        assert (bare.body, bare.result, bare.attempts, bare.segments) == (None, None, (), ())
        [full] = await world.jobs.find(_all(parts=Parts(body=True, result=True, attempts=True)))
        assert (full.body, full.result, full.attempts) == (job.body, result("ok"), (attempt,))

    async def test_gets_come_in_the_order_asked(self, world: World) -> None:
        one, two = await world.add(), await world.add()
        found = await world.jobs.get(None, [two.id, "job_unknown", one.id, two.id])
        assert [job and job.id for job in found] == [two.id, None, one.id, two.id]

    async def test_depths_count_what_is_queued_runs_and_is_dead(self, world: World) -> None:
        oldest = world.clock.now()
        for _ in range(3):
            await world.add()
        await world.answer(await world.take(), Status.FAILED)
        await world.take()
        world.clock.advance(5)
        await world.add(queue="other")
        depths = {depth.queue: depth for depth in await world.jobs.depths()}
        assert (depths[QUEUE].queued, depths[QUEUE].running, depths[QUEUE].dead) == (1, 1, 1)
        assert depths[QUEUE].oldest_queued_at == oldest
        assert (depths["other"].queued, depths["other"].running) == (1, 0)

    async def test_a_backlog_counts_a_tenants_live_roots_up_to_the_ceiling(self, world: World) -> None:
        parent = await world.add(tenant="a", is_group=True, kind="batch")
        await world.add(tenant="a", parent_id=parent.id)
        await world.add(tenant="a", kind="notify")
        await world.add(tenant="b", priority=1)
        for _ in range(3):
            await world.add(tenant="a", priority=2)
        assert await world.jobs.backlog("a", 100) == 4
        assert await world.jobs.backlog("a", 2) == 2
        taken = await world.take()
        assert await world.jobs.backlog("a", 100) == 4
        await world.answer(taken, Status.SUCCEEDED)
        assert await world.jobs.backlog("a", 100) == 3
        assert await world.jobs.backlog("b", 100) == 1
        assert await world.jobs.backlog("c", 100) == 0


class Tenants:
    async def test_a_job_of_another_tenant_is_not_there(self, world: World) -> None:
        job = await world.add(tenant="a")
        assert await world.jobs.get("b", [job.id]) == [None]
        assert await world.jobs.get("a", [job.id]) != [None]
        assert await world.jobs.find(_all(tenant="b")) == []
        assert len(await world.jobs.find(_all(tenant="a"))) == 1
        assert len(await world.jobs.find(_all(tenant=None))) == 1

    async def test_a_job_of_another_tenant_is_not_cancelled(self, world: World) -> None:
        queued, running = await world.add(tenant="a"), await world.add(tenant="a", priority=1)
        await world.take()
        replies = await world.jobs.cancel("b", [queued.id, running.id])
        assert [reply.lookup for reply in replies] == [Lookup.NOT_FOUND] * 2
        assert await world.status(queued.id) == Status.QUEUED
        assert (await world.row(running.id)).ending is None

    async def test_a_job_of_another_tenant_is_not_retried(self, world: World) -> None:
        job = await world.add(tenant="a")
        await world.answer(await world.take(), Status.FAILED)
        [reply] = await world.jobs.retry("b", [job.id])
        assert (reply.lookup, await world.status(job.id)) == (Lookup.NOT_FOUND, Status.FAILED)

    async def test_a_job_of_another_tenant_is_not_erased(self, world: World) -> None:
        job = await world.add(tenant="a")
        await world.answer(await world.take())
        [reply] = await world.jobs.erase("b", [job.id])
        assert reply.lookup == Lookup.NOT_FOUND
        assert (await world.row(job.id, Parts(body=True))).body == job.body


def _all(**fields: object) -> JobQuery:
    return replace(JobQuery(tenant=None), **fields)


def _ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]

"""What ``ports.Archive`` promises: the rows of one store, loaded into an empty other, are the same work.

A test module gives the fixture ``ends``: two opened stores, of any two back ends.
"""

import contextlib
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from forebay.domain.answer import Taking
from forebay.domain.archive import PARTS, Row
from forebay.domain.content import Content, Segment
from forebay.domain.job import Join, Status
from forebay.domain.query import JobQuery, Parts
from forebay.domain.stored import StoredRecord
from forebay.ports import Archive, Rate
from forebay.testing.conformance.world import QUEUE, TELL, World

WHOLE = Parts(body=True, result=True, attempts=True, segments=True)
EVERY = JobQuery(tenant=None, parent_id=None, limit=10_000, is_ascending=True, parts=WHOLE)


class Hold(Protocol):
    """A back end's ``hold_archive`` of one store."""

    def __call__(self, *, is_writing: bool = False) -> AbstractAsyncContextManager[Archive]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The store with the work, and the empty one."""

    source: World
    hold_source: Hold
    target: World
    hold_target: Hold

    async def move(self) -> None:
        """Loads all rows of the source into the target."""
        async with self.hold_source() as there, self.hold_target(is_writing=True) as here:
            for part in PARTS:
                async for rows in there.rows(part):
                    await here.load(part, rows)
            await here.raise_fence(await there.last_fence())


class ArchiveSuite:
    async def test_a_store_with_jobs_in_every_state_is_the_same_in_the_other(self, ends: Ends) -> None:
        await _fill(ends.source)
        await ends.move()
        before = await _rows(ends.hold_source)
        assert await _rows(ends.hold_target) == before
        assert {part.name for part in PARTS if not before[part.name]} == set()
        assert await ends.target.jobs.find(EVERY) == await ends.source.jobs.find(EVERY)
        assert await ends.target.jobs.depths() == await ends.source.jobs.depths()

    async def test_what_filters_find_is_found_after_the_move(self, ends: Ends) -> None:
        spec = ends.source.make().spec
        wanted = await ends.source.add(spec=type(spec)(target="mill", model="m", metadata={"team": "blue"}))
        await ends.source.add()
        await ends.source.records.put(StoredRecord(kind="file", id="f", data='{"purpose": "batch", "n": 3}'))
        await ends.move()
        for fields in ({"target": "mill"}, {"model": "m"}, {"metadata": {"team": "blue"}}):
            found = await ends.target.jobs.find(JobQuery(tenant=None, **fields))
            assert [job.id for job in found] == [wanted.id]
        [record] = await ends.target.records.list("default", "file", match={"purpose": "batch"})
        assert (record.id, record.version) == ("f", 1)

    async def test_claims_go_on_in_the_same_order_under_higher_fences(self, ends: Ends) -> None:
        for tenant in ("a", "a", "a", "b"):
            await ends.source.add(tenant=tenant)
        await ends.source.add(tenant="a", priority=5)
        done = await ends.source.take()
        await ends.source.answer(done)
        await ends.move()
        here = [claimed.job.id for claimed in await ends.source.claim()]
        there = await ends.target.claim()
        assert [claimed.job.id for claimed in there] == here
        assert min(claimed.fence for claimed in there) > done.fence

    async def test_a_parent_that_waited_is_woken_by_its_children_after_the_move(self, ends: Ends) -> None:
        group = await ends.source.spawn([ends.source.make(), ends.source.make()], join=Join(live=1))
        await ends.move()
        first, second = await ends.target.claim()
        await ends.target.answer(first)
        assert await ends.target.status(group.job.id) == Status.QUEUED
        await ends.target.answer(second)
        claimed = await ends.target.take(queue="control")
        await ends.target.answer(claimed)
        assert await ends.target.status(group.job.id) == Status.SUCCEEDED

    async def test_a_key_that_was_used_adds_nothing_after_the_move(self, ends: Ends) -> None:
        job = await ends.source.add(key="once", fingerprint="f")
        await ends.move()
        [added] = await ends.target.jobs.add([ends.target.make(key="once")])
        assert (added.id, added.is_new, added.fingerprint) == (job.id, False, "f")

    async def test_rates_and_budgets_are_where_they_were(self, ends: Ends) -> None:
        rate = Rate(name="requests", per_second=1, burst=10)
        await ends.source.limits.reserve(rate, 7)
        assert await ends.source.limits.charge("run", 0.7, 1.0)
        await ends.move()
        assert (await ends.target.limits.reserve(rate, 10)).granted == 3
        assert not await ends.target.limits.charge("run", 0.7, 1.0)

    async def test_what_waited_for_its_time_is_due_then(self, ends: Ends) -> None:
        later = await ends.source.add(due_at=ends.source.clock.now() + 60)
        await ends.move()
        assert await ends.target.claim() == []
        ends.target.clock.advance(61)
        await ends.target.recover()
        assert (await ends.target.take()).job.id == later.id

    async def test_a_load_that_breaks_off_leaves_nothing(self, ends: Ends) -> None:
        await _fill(ends.source)
        with contextlib.suppress(ZeroDivisionError):
            async with ends.hold_source() as there, ends.hold_target(is_writing=True) as here:
                async for rows in there.rows(PARTS[0]):
                    await here.load(PARTS[0], rows)
                raise ZeroDivisionError
        assert set(map(len, (await _rows(ends.hold_target)).values())) == {0}

    async def test_leases_are_counted_and_not_archived(self, ends: Ends) -> None:
        await ends.source.add()
        await ends.source.take()
        async with ends.hold_source() as archive:
            assert await archive.leased() == 1

    async def test_a_text_with_the_character_zero_can_be_loaded(self, ends: Ends) -> None:
        job = await ends.source.add(body=Content(text='{"prompt": "\\u0000"}'))
        await ends.source.records.put(StoredRecord(kind="note", id="n", data='{"text": "a\\u0000b"}'))
        await ends.move()
        assert (await ends.target.row(job.id, WHOLE)).body == Content(text='{"prompt": "\\u0000"}')


async def _rows(hold: Hold) -> dict[str, list[Row]]:
    async with hold() as archive:
        return {part.name: [row async for rows in archive.rows(part) for row in rows] for part in PARTS}


async def _fill(world: World) -> None:
    """Jobs in every state but running, streams, segments, records, rates and budgets."""
    group = await world.spawn([world.make() for _ in range(3)], join=Join(live=2, until=world.clock.now() + 500))
    first, *_ = await world.claim(slots=1)
    attempt = await world.begin(first)
    await world.answer(first, attempts=(world.completed(attempt, status_code=200, cost_usd=0.25),), cost_usd=0.25)
    await world.recover()
    again = await world.take(queue="control")
    segment = Segment(name="output", number=0, blob_id="blob_00000000000000000000000000", lines=1, bytes=5)
    taking = Taking(collect=(first.job.id,), segments=(segment,))
    await world.answer(again, Status.WAITING, taking=taking, progress='{"version": 1}', join=Join())
    assert await world.status(group.job.id) == Status.WAITING
    await world.records.put(StoredRecord(kind="file", id="f", tenant="b", blobs=("blob_00000000000000000000000001",)))
    await world.records.put(StoredRecord(kind="entry", id="e", expires_at=world.clock.now() + 1000))
    await world.limits.reserve(Rate(name="requests", per_second=1, burst=10), 3)
    await world.limits.charge("run", 0.1, 1.0)
    await _end_some(world)


async def _end_some(world: World) -> None:
    await world.add(on_end=(TELL,), key="kept", origin="abc", tenant="a", priority=9)
    await world.answer(await world.take())
    for status in (Status.FAILED, Status.QUEUED):
        await world.add(priority=3)
        claimed = await world.take()
        await world.begin(claimed)
        await world.jobs.append(claimed.job.id, claimed.fence, ["data: 1\n\n", "data: 2\n\n"])
        await world.answer(claimed, status)
    cancelled = await world.add()
    await world.jobs.cancel("default", [cancelled.id])
    await world.add(due_at=world.clock.now() + 60, queue=QUEUE)

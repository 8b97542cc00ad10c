"""``prune`` and blob references: what goes when, and what never does."""

from forebay.domain.answer import Taking
from forebay.domain.content import Content
from forebay.domain.job import Join, Notice, Result, Status
from forebay.testing.conformance.world import World

TELL = (Notice(kind="notify", queue="notify:ops"),)


class Pruning:
    async def test_roots_that_ended_before_then_go(self, world: World) -> None:
        old, young, live = [await world.add() for _ in range(3)]
        await world.answer(await world.take())
        world.clock.advance(100)
        await world.answer(await world.take())
        pruned = await world.jobs.prune(world.clock.now() - 50)
        assert (pruned.jobs, pruned.is_complete) == (1, True)
        found = await world.jobs.get(None, [old.id, young.id, live.id])
        assert [job is not None for job in found] == [False, True, True]

    async def test_all_that_hangs_on_a_pruned_job_goes_with_it(self, world: World) -> None:
        group, children = await world.family(2)
        for child in children:
            attempt = await world.begin(child)
            await world.jobs.append(child.job.id, child.fence, ["data: x\n\n"])
            await world.answer(child, attempts=(world.completed(attempt),))
        await world.answer(await world.take(queue="control"))
        await _prune_all(world)
        assert await world.jobs.get(None, [group, *(child.job.id for child in children)]) == [None] * 3
        assert await world.jobs.read(children[0].job.id) == []
        assert await world.children(group) == []

    async def test_a_whole_tree_goes_with_its_root(self, world: World) -> None:
        top = await world.spawn([world.make_group()])
        inner = await world.take(queue="control")
        await world.answer(inner, Status.WAITING, children=world.under(inner.job.id, [world.make()]))
        leaf = await world.take()
        await world.answer(leaf)
        for _ in range(2):
            await world.answer(await world.take(queue="control"))
        await _prune_all(world)
        ids = [top.job.id, inner.job.id, leaf.job.id]
        assert await world.jobs.get(None, ids) == [None] * 3

    async def test_an_ended_child_of_a_live_parent_stays(self, world: World) -> None:
        _, [one, _] = await world.family(2)
        await world.answer(one)
        await _prune_all(world)
        assert await world.status(one.job.id) == Status.SUCCEEDED

    async def test_an_ended_parent_of_a_live_child_stays(self, world: World) -> None:
        group, [done, running] = await world.family(2, join=Join(successes=1))
        await world.answer(done)
        await world.answer(await world.take(queue="control"))
        await _prune_all(world)
        assert await world.status(group) == Status.SUCCEEDED
        assert await world.status(running.job.id) == Status.RUNNING
        await world.answer(running)
        await _prune_all(world)
        assert await world.jobs.get(None, [group, done.job.id, running.job.id]) == [None] * 3

    async def test_a_job_whose_notice_is_undelivered_stays(self, world: World) -> None:
        job = await world.add(on_end=TELL)
        await world.answer(await world.take())
        await _prune_all(world)
        assert await world.status(job.id) == Status.SUCCEEDED
        await world.answer(await world.take(queue="notify:ops"))
        await _prune_all(world)
        assert await world.jobs.get(None, [job.id]) == [None]

    async def test_a_bounded_prune_says_whether_more_is_left(self, world: World) -> None:
        await world.jobs.add([world.make() for _ in range(10)])
        await world.jobs.apply([world.change(claimed) for claimed in await world.claim()])
        first = await world.jobs.prune(world.clock.now() + 1, limit=4)
        assert not first.is_complete
        assert 0 < first.jobs <= 4
        assert first.jobs + await _prune_all(world) == 10

    async def test_the_key_of_a_pruned_job_is_free_again(self, world: World) -> None:
        await world.add(key="k")
        await world.answer(await world.take())
        await _prune_all(world)
        await world.add(key="k")


class References:
    async def test_blobs_are_referred_to_while_their_job_has_a_row(self, world: World) -> None:
        body, large = Content(blob_id="blob_body", bytes=9), Content(blob_id="blob_result", bytes=9)
        await world.add(body=body, blobs=("blob_input",))
        names = ["blob_body", "blob_input", "blob_result", "blob_none"]
        assert sorted(await world.jobs.orphans(names)) == ["blob_none", "blob_result"]
        await world.answer(await world.take(), result=Result(status_code=200, body=large))
        assert await world.jobs.orphans(names) == ["blob_none"]
        await _prune_all(world)
        assert sorted(await world.jobs.orphans(names)) == sorted(names)

    async def test_a_job_that_was_not_added_refers_to_nothing(self, world: World) -> None:
        await world.add(key="k")
        await world.jobs.add([world.make(key="k", body=Content(blob_id="blob_again", bytes=9))])
        assert await world.jobs.orphans(["blob_again"]) == ["blob_again"]

    async def test_a_blob_of_two_owners_stays_until_both_are_gone(self, world: World) -> None:
        for queue in ("a", "b"):
            await world.add(queue=queue, blobs=("blob_shared",))
        await world.answer(await world.take(queue="a"))
        await _prune_all(world)
        assert await world.jobs.orphans(["blob_shared"]) == []
        await world.answer(await world.take(queue="b"))
        await _prune_all(world)
        assert await world.jobs.orphans(["blob_shared"]) == ["blob_shared"]

    async def test_the_blobs_of_collected_children_are_free(self, world: World) -> None:
        group = await world.spawn([world.make(body=Content(blob_id="blob_line", bytes=9))])
        child = await world.take()
        await world.answer(child)
        assert await world.jobs.orphans(["blob_line"]) == []
        await world.answer(await world.take(queue="control"), taking=Taking(collect=(child.job.id,)))
        assert await world.jobs.orphans(["blob_line"]) == ["blob_line"]
        assert await world.status(group.job.id) == Status.SUCCEEDED

    async def test_a_stale_answer_refers_to_nothing(self, world: World) -> None:
        await world.add()
        stale = await world.take("one")
        await world.lose_workers()
        late = Result(status_code=200, body=Content(blob_id="blob_late", bytes=9))
        await world.jobs.apply([world.change(stale, result=late)])
        assert await world.jobs.orphans(["blob_late"]) == ["blob_late"]

    async def test_no_blobs_have_no_orphans(self, world: World) -> None:
        assert await world.jobs.orphans([]) == []


async def _prune_all(world: World) -> int:
    count = 0
    for _ in range(100):
        pruned = await world.jobs.prune(world.clock.now() + 1)
        count += pruned.jobs
        if pruned.is_complete:
            return count
    raise AssertionError("prune never says that it is complete")

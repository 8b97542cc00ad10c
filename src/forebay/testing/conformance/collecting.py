"""``taking``: what a group takes over from its children is counted once, and its output is numbered in order."""

from forebay.domain.answer import Taking
from forebay.domain.attempt import Usage
from forebay.domain.change import Claimed, Tally
from forebay.domain.content import Segment
from forebay.domain.job import Join, Status, Taken
from forebay.domain.query import Parts
from forebay.testing.conformance.world import World

ONE = Usage(input_tokens=10, output_tokens=1)


class Collecting:
    async def test_succeeded_children_are_deleted_and_dead_ones_marked(self, world: World) -> None:
        group, [good, bad] = await _ended_family(world)
        await world.answer(group, Status.WAITING, taking=Taking(collect=(good, bad)))
        assert await world.jobs.get(None, [good]) == [None]
        assert await world.ledger(bad) != ()
        assert [row.id for row in await world.children(group.job.id)] == [bad]
        assert await world.children(group.job.id, is_collected=False) == []
        assert [row.id for row in await world.children(group.job.id, is_collected=True)] == [bad]

    async def test_the_sums_of_collected_children_go_into_their_parent(self, world: World) -> None:
        group, ids = await _ended_family(world)
        await world.answer(group, Status.WAITING, taking=Taking(collect=tuple(ids)))
        row = await world.row(group.job.id)
        assert row.taken == Taken(succeeded=1, failed=1)
        assert (row.usage, row.cost_usd) == (ONE.plus(ONE), 0.5)

    async def test_a_child_named_twice_is_counted_once(self, world: World) -> None:
        group, ids = await _ended_family(world)
        await world.answer(group, Status.WAITING, taking=Taking(collect=(*ids, *ids)))
        again = await world.take(queue="control")
        await world.answer(again, taking=Taking(collect=tuple(ids)))
        row = await world.row(group.job.id)
        assert row.taken == Taken(succeeded=1, failed=1)
        assert (row.usage, row.cost_usd) == (ONE.plus(ONE), 0.5)

    async def test_only_a_groups_own_ended_children_are_collected(self, world: World) -> None:
        stranger = await world.add(queue="other")
        await world.answer(await world.take(queue="other"))
        group, [one, live] = await world.family(2, join=Join(live=1))
        await world.answer(one)
        taking = Taking(collect=(stranger.id, live.job.id, "job_unknown"))
        await world.answer(await world.take(queue="control"), Status.WAITING, taking=taking)
        assert await world.status(stranger.id) == Status.SUCCEEDED
        assert await world.status(live.job.id) == Status.RUNNING
        assert (await world.row(group)).taken == Taken()

    async def test_a_stale_handler_collects_nothing(self, world: World) -> None:
        stale, ids = await _ended_family(world)
        await world.lose_workers()
        taking = Taking(collect=tuple(ids), segments=(_segment("output"),))
        await world.jobs.apply([world.change(stale, Status.WAITING, taking=taking)])
        assert [row.id for row in await world.children(stale.job.id, is_collected=False)] == ids
        assert (await world.row(stale.job.id)).taken == Taken()
        assert await world.jobs.segments(stale.job.id, "output") == []

    async def test_a_terminal_answer_takes_over_too(self, world: World) -> None:
        group, ids = await _ended_family(world)
        await world.answer(group, taking=Taking(collect=tuple(ids), segments=(_segment("output"),)))
        row = await world.row(group.job.id)
        assert (row.status, row.taken) == (Status.SUCCEEDED, Taken(succeeded=1, failed=1))
        assert len(await world.jobs.segments(group.job.id, "output")) == 1

    async def test_a_child_that_was_read_as_dead_and_has_succeeded_since_is_not_taken(self, world: World) -> None:
        group, [good, bad] = await _ended_family(world)
        taking = Taking(collect=(good,), dead=(bad,))
        await world.jobs.retry("default", [bad])
        await world.answer(await world.take())
        await world.answer(group, Status.WAITING, join=Join(live=2), taking=taking)
        left = await world.children(group.job.id, is_collected=False)
        assert [(row.id, row.status) for row in left] == [(bad, Status.SUCCEEDED)]
        assert (await world.row(group.job.id)).taken == Taken(succeeded=1)

    async def test_a_child_that_was_read_as_dead_and_still_is_is_marked(self, world: World) -> None:
        group, [good, bad] = await _ended_family(world)
        await world.answer(group, Status.WAITING, join=Join(live=2), taking=Taking(collect=(good,), dead=(bad,)))
        assert await world.children(group.job.id, is_collected=False) == []
        assert (await world.row(group.job.id)).taken == Taken(succeeded=1, failed=1)

    async def test_collected_children_wake_no_join_again(self, world: World) -> None:
        group, [one, two, _] = await world.family(3, join=Join(live=2))
        await world.answer(one)
        woken = await world.take(queue="control")
        taking = Taking(collect=(one.job.id,))
        await world.answer(woken, Status.WAITING, join=Join(live=1), taking=taking)
        assert await world.status(group) == Status.WAITING
        await world.answer(two)
        assert await world.status(group) == Status.QUEUED

    async def test_a_tally_is_what_was_taken_and_what_has_rows(self, world: World) -> None:
        group, children = await world.family(6, join=Join(live=3))
        for child, status in zip(children[:3], (Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED), strict=True):
            await world.answer(child, status, usage=ONE, cost_usd=0.25)
        taking = Taking(collect=(children[0].job.id, children[1].job.id))
        woken = await world.take(queue="control")
        await world.answer(woken, Status.WAITING, join=Join(live=1), taking=taking)
        await world.answer(children[3], Status.CANCELLED)
        assert await world.jobs.tally([group]) == [
            Tally(live=2, succeeded=2, failed=1, cancelled=1, usage=ONE.plus(ONE).plus(ONE), cost_usd=0.75)
        ]

    async def test_tallies_come_in_the_order_asked(self, world: World) -> None:
        one, two = [(await world.family(count))[0] for count in (1, 2)]
        assert [tally.live for tally in await world.jobs.tally([two, "job_unknown", one])] == [2, 0, 1]

    async def test_what_is_not_known_is_not_zero(self, world: World) -> None:
        group, [one] = await world.family(1)
        await world.answer(one)
        assert await world.jobs.tally([group]) == [Tally(succeeded=1, usage=None, cost_usd=None)]


class Segments:
    async def test_segments_are_numbered_by_name_in_the_order_of_their_commits(self, world: World) -> None:
        group = await world.put(world.make_group())
        names = [("output", "errors"), ("output", "output"), ("errors",)]
        written = [tuple(_segment(name, n * 10 + m) for m, name in enumerate(row)) for n, row in enumerate(names)]
        for segments in written:
            claimed = await world.take(queue="control")
            await world.answer(claimed, Status.WAITING, taking=Taking(segments=segments))
        output = await world.jobs.segments(group.id, "output")
        assert [(one.number, one.blob_id) for one in output] == [(0, "blob_0"), (1, "blob_10"), (2, "blob_11")]
        errors = await world.jobs.segments(group.id, "errors")
        assert [(one.number, one.blob_id) for one in errors] == [(0, "blob_1"), (1, "blob_20")]
        assert (output[1].lines, output[1].bytes) == (20, 200)

    async def test_segments_are_read_on_from_a_number(self, world: World) -> None:
        group = await world.put(world.make_group())
        segments = tuple(_segment("output", n) for n in range(4))
        await world.answer(await world.take(queue="control"), taking=Taking(segments=segments))
        assert [one.number for one in await world.jobs.segments(group.id, "output", after=1)] == [2, 3]
        assert await world.jobs.segments(group.id, "other") == []
        assert len((await world.row(group.id, Parts(segments=True))).segments) == 4

    async def test_a_segments_blob_is_referred_to(self, world: World) -> None:
        await world.put(world.make_group())
        await world.answer(await world.take(queue="control"), taking=Taking(segments=(_segment("output", 3),)))
        assert await world.jobs.orphans(["blob_3", "blob_4"]) == ["blob_4"]


async def _ended_family(world: World) -> tuple[Claimed, list[str]]:
    """A claimed group whose two children ended, one well and one badly, each for 0.25 USD and ONE token usage."""
    _, [good, bad] = await world.family(2)
    for child, status in ((good, Status.SUCCEEDED), (bad, Status.FAILED)):
        attempt = await world.begin(child)
        done = world.completed(attempt, usage=ONE, cost_usd=0.25)
        await world.answer(child, status, attempts=(done,), usage=ONE, cost_usd=0.25)
    return await world.take(queue="control"), [good.job.id, bad.job.id]


def _segment(name: str, number: int = 0) -> Segment:
    return Segment(name=name, blob_id=f"blob_{number}", lines=number * 2, bytes=number * 20)

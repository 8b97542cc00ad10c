"""``append`` and ``read``: a job's stream is numbered, fenced and durable."""

from forebay.domain.change import Verdict
from forebay.domain.content import Chunk
from forebay.domain.job import Status
from forebay.testing.conformance.world import World


class Streams:
    async def test_chunks_are_numbered_on_in_order(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        assert await world.jobs.append(job.id, claimed.fence, ["a", "b"]) == Verdict.APPLIED
        assert await world.jobs.append(job.id, claimed.fence, ["ünï\n\n"]) == Verdict.APPLIED
        expected = [Chunk(number=0, text="a"), Chunk(number=1, text="b"), Chunk(number=2, text="ünï\n\n")]
        assert await world.jobs.read(job.id) == expected

    async def test_chunks_that_are_added_again_by_their_number_stand_once(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        for first, texts in ((0, ["a", "b"]), (0, ["a", "b"]), (1, ["b", "c"]), (3, ["d"]), (0, ["a", "b", "c", "d"])):
            assert await world.jobs.append(job.id, claimed.fence, texts, first=first) == Verdict.APPLIED
        assert [(chunk.number, chunk.text) for chunk in await world.jobs.read(job.id)] == list(enumerate("abcd"))
        await world.jobs.append(job.id, claimed.fence, ["e"])
        assert [chunk.text for chunk in await world.jobs.read(job.id)] == list("abcde")
        await world.answer(claimed)
        assert await world.jobs.append(job.id, claimed.fence, ["f"], first=5) == Verdict.LEASE_LOST

    async def test_a_reader_goes_on_where_it_stopped(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        await world.jobs.append(job.id, claimed.fence, [str(n) for n in range(10)])
        assert [chunk.number for chunk in await world.jobs.read(job.id, limit=3)] == [0, 1, 2]
        assert [chunk.number for chunk in await world.jobs.read(job.id, after=2, limit=3)] == [3, 4, 5]
        assert await world.jobs.read(job.id, after=9) == []

    async def test_a_stale_worker_adds_nothing(self, world: World) -> None:
        job = await world.add()
        stale = await world.take("one")
        await world.jobs.append(job.id, stale.fence, ["first"])
        await world.lose_workers()
        assert await world.jobs.append(job.id, stale.fence, ["queued"]) == Verdict.LEASE_LOST
        current = await world.take("two")
        assert await world.jobs.append(job.id, stale.fence, ["late"]) == Verdict.LEASE_LOST
        assert await world.jobs.append(job.id, current.fence, ["second"]) == Verdict.APPLIED
        assert await world.jobs.read(job.id) == [Chunk(number=0, text="first"), Chunk(number=1, text="second")]

    async def test_the_stream_of_a_retried_job_begins_anew(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        await world.jobs.append(job.id, claimed.fence, ["cut"])
        await world.answer(claimed, Status.FAILED)
        await world.jobs.retry("default", [job.id])
        assert await world.jobs.read(job.id) == []
        again = await world.take()
        await world.jobs.append(job.id, again.fence, ["whole"])
        assert await world.jobs.read(job.id) == [Chunk(number=0, text="whole")]

    async def test_a_stream_outlives_its_answer(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        await world.jobs.append(job.id, claimed.fence, ["all"])
        await world.answer(claimed)
        assert await world.status(job.id) == Status.SUCCEEDED
        assert [chunk.text for chunk in await world.jobs.read(job.id)] == ["all"]
        assert await world.jobs.append(job.id, claimed.fence, ["more"]) == Verdict.LEASE_LOST

    async def test_streams_of_two_jobs_are_apart(self, world: World) -> None:
        for _ in range(2):
            await world.add()
        one, two = await world.claim()
        await world.jobs.append(one.job.id, one.fence, ["one"])
        await world.jobs.append(two.job.id, two.fence, ["two"])
        assert await world.jobs.read(two.job.id) == [Chunk(number=0, text="two")]

    async def test_a_job_without_a_stream_reads_as_empty(self, world: World) -> None:
        job = await world.add()
        assert await world.jobs.read(job.id) == []
        assert await world.jobs.read("job_unknown") == []

"""What another process committed is heard: ends, streams, children, and whatever the clock did."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.domain.change import Change, Claimed, Want, Worker
from forebay.domain.job import Job, Status
from forebay.ports import Watch
from forebay.stores.sqlite import looks, open_store
from forebay.stores.sqlite.opening import SqliteStore
from forebay.testing.clock import FakeClock

PATIENCE_SECONDS = 120.0
QUEUE = "target:x"
WORKER = Worker(id="worker_1", queues=(QUEUE,))


class Pair:
    """Two openings of one file, as two processes have them: `near` watches what `far` does."""

    def __init__(self, near: SqliteStore, far: SqliteStore, clock: FakeClock) -> None:
        self.near = near
        self.far = far
        self.clock = clock

    async def add(self, *names: str) -> list[str]:
        now = self.clock.now()
        jobs = [Job(id=f"job_{name}", kind="infer", queue=QUEUE, created_at=now, deadline=now + 9e5) for name in names]
        await self.far.jobs.add(jobs)
        return [job.id for job in jobs]

    async def claim(self, count: int) -> list[Claimed]:
        await self.far.jobs.renew(WORKER)
        return await self.far.jobs.claim(WORKER, [Want(queue=QUEUE, lane="x", slots=count)])

    async def end(self, claimed: Claimed) -> None:
        await self.far.jobs.apply([Change(job_id=claimed.job.id, fence=claimed.fence, status=Status.SUCCEEDED)])


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    clock = FakeClock()
    near, far = [await open_store(tmp_path / "forebay.db", clock=clock) for _ in range(2)]
    yield Pair(near, far, clock)
    await near.close()
    await far.close()


async def heard(watch: Watch, job_id: str) -> bool:
    """Waits until the job's topic is signalled; False: it was not in time."""
    while topics := await watch.next(PATIENCE_SECONDS):
        if f"job:{job_id}" in topics:
            return True
    return False


async def test_each_end_is_heard_though_several_come_at_one_moment(pair: Pair) -> None:
    ids = await pair.add("a", "b", "c")
    watch = pair.near.jobs.watch([f"job:{job_id}" for job_id in ids])
    for claimed in await pair.claim(3):
        await pair.end(claimed)
        assert await heard(watch, claimed.job.id)
    watch.close()


async def test_an_end_is_heard_after_the_clock_was_set_back(pair: Pair) -> None:
    await pair.add("a", "b")
    watch = pair.near.jobs.watch(["job:job_a", "job:job_b"])
    first, second = await pair.claim(2)
    await pair.end(first)
    assert await heard(watch, first.job.id)
    pair.clock.advance(-3600)
    await pair.end(second)
    assert await heard(watch, second.job.id)
    watch.close()


async def test_an_end_is_heard_among_more_jobs_than_one_look_sweeps(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "SWEEP_JOBS", 2)
    ids = await pair.add(*"abcdefg")
    watch = pair.near.jobs.watch([f"job:{job_id}" for job_id in ids])
    pair.clock.advance(-3600)  # none but the sweep finds them
    for claimed in await pair.claim(7):
        await pair.end(claimed)
        assert await heard(watch, claimed.job.id)
    watch.close()


async def test_every_growth_of_a_stream_is_heard_and_so_is_its_beginning_anew(pair: Pair) -> None:
    [job_id] = await pair.add("a")
    watch = pair.near.jobs.watch([f"job:{job_id}"])
    [claimed] = await pair.claim(1)
    for text in "xyz":
        await pair.far.jobs.append(job_id, claimed.fence, [text])
        assert await heard(watch, job_id)
    await pair.far.jobs.apply([Change(job_id=job_id, fence=claimed.fence, status=Status.FAILED)])
    assert await heard(watch, job_id)
    await pair.far.jobs.retry("default", [job_id])
    [claimed] = await pair.claim(1)
    await pair.far.jobs.append(job_id, claimed.fence, ["x"])
    assert await heard(watch, job_id)
    watch.close()


async def test_what_nobody_watches_is_not_signalled(pair: Pair) -> None:
    await pair.add("a", "b")
    watch = pair.near.jobs.watch(["job:job_b"])
    first, second = await pair.claim(2)
    await pair.end(first)
    await pair.end(second)
    assert await watch.next(PATIENCE_SECONDS) == {"job:job_b"}
    watch.close()

"""A clock that is set back: pauses written before it last as long as they were meant to, and no longer."""

from collections.abc import Callable
from pathlib import Path

from forebay.domain.change import Change, Want, Worker
from forebay.domain.job import Job, Status
from forebay.stores.sqlite import SqliteStore, open_store
from forebay.testing.clock import FakeClock
from tests.unit.stores_sqlite.conftest import QUEUE

WORKER = Worker(id="worker_1", queues=(QUEUE,))
YEARS = 3 * 365 * 86_400.0


async def _pause(store: SqliteStore, clock: FakeClock, seconds: float) -> None:
    await store.jobs.renew(WORKER)
    [claimed] = await store.jobs.claim(WORKER, [Want(queue=QUEUE, lane="mill", slots=1)])
    due_at = clock.now() + seconds
    await store.jobs.apply([Change(job_id=claimed.job.id, fence=claimed.fence, status=Status.QUEUED, due_at=due_at)])


async def _due_at(store: SqliteStore, job: Job) -> float:
    [found] = await store.jobs.get(None, [job.id])
    assert found is not None
    return found.due_at


async def test_a_pause_of_ten_seconds_is_one_after_the_clock_went_back(
    store: SqliteStore, clock: FakeClock, make: Callable[..., Job]
) -> None:
    job = make(deadline=clock.now() + 2 * YEARS)
    await store.jobs.add([job])
    await store.jobs.recover()
    clock.advance(YEARS)
    await _pause(store, clock, 10)
    await store.jobs.recover()
    clock.advance(-YEARS)
    await store.jobs.recover()
    assert await _due_at(store, job) == clock.now() + 10
    clock.advance(10)
    assert (await store.jobs.recover()).due == 1


async def test_a_clock_that_went_back_while_nothing_ran_is_noticed_too(
    store: SqliteStore, path: Path, clock: FakeClock, make: Callable[..., Job]
) -> None:
    job = make(deadline=clock.now() + 2 * YEARS)
    await store.jobs.add([job])
    clock.advance(YEARS)
    await _pause(store, clock, 10)
    await store.close()
    clock.advance(-YEARS)
    again = await open_store(path, clock=clock)
    await again.jobs.recover()
    assert await _due_at(again, job) == clock.now() + 10
    await again.close()


async def test_a_time_that_the_user_named_stands(
    store: SqliteStore, clock: FakeClock, make: Callable[..., Job]
) -> None:
    clock.advance(YEARS)
    soon = clock.now() + 60
    old, new = make(not_before=soon, due_at=soon), make()
    await store.jobs.add([old, new])
    await _pause(store, clock, 10)
    await store.jobs.recover()
    clock.advance(-1)
    await store.jobs.recover()
    assert await _due_at(store, old) == soon
    assert await _due_at(store, new) == clock.now() + 10

"""What is still in hand is claimed without a read, and never in place of what the store knows better."""

from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.change import Change, Claimed, Want, Worker
from forebay.domain.content import Content
from forebay.domain.job import Job, JobError, Status
from forebay.stores.sqlite import SqliteStore, open_store
from forebay.stores.sqlite.recent import MOST_BYTES, MOST_JOBS, STALE_SECONDS, Recent
from forebay.testing.clock import FakeClock
from tests.unit.stores_sqlite.conftest import QUEUE

HERE, THERE = Worker(id="worker_here", queues=(QUEUE,)), Worker(id="worker_there", queues=(QUEUE,))


async def _claim(store: SqliteStore, worker: Worker) -> Claimed:
    await store.jobs.renew(worker)
    [claimed] = await store.jobs.claim(worker, [Want(queue=QUEUE, lane="mill", slots=1)])
    return claimed


async def _fail_once(store: SqliteStore, claimed: Claimed, clock: FakeClock) -> None:
    attempt = Attempt(job_id=claimed.job.id, number=1, fence=claimed.fence, target="mill", started_at=clock.now())
    await store.jobs.begin([attempt])
    ended = replace(attempt, outcome=Outcome.TIMEOUT, finished_at=clock.now())
    error = JobError(code="target_timeout", message="no answer")
    change = Change(
        job_id=claimed.job.id,
        fence=claimed.fence,
        status=Status.QUEUED,
        due_at=clock.now(),
        attempts=(ended,),
        attempts_used=1,
        error=error,
    )
    await store.jobs.apply([change])


async def test_a_claim_gives_the_same_job_from_the_hand_and_from_the_file(
    store: SqliteStore, path: Path, clock: FakeClock, make: Callable[..., Job]
) -> None:
    first, second = make(priority=1), make()
    await store.jobs.add([first, second])
    other = await open_store(path, clock=clock)
    here, there = await _claim(store, HERE), await _claim(other, THERE)
    await other.close()
    assert here.job == replace(first, status=Status.RUNNING, started_at=clock.now())
    assert there.job == replace(second, status=Status.RUNNING, started_at=clock.now())


async def test_a_job_that_another_process_tried_is_not_taken_from_the_hand(
    store: SqliteStore, path: Path, clock: FakeClock, make: Callable[..., Job]
) -> None:
    await store.jobs.add([make()])
    other = await open_store(path, clock=clock)
    await _fail_once(other, await _claim(other, THERE), clock)
    await other.close()
    again = await _claim(store, HERE)
    assert (again.job.attempt_count, again.job.attempts_used) == (1, 1)
    assert again.job.error == JobError(code="target_timeout", message="no answer")


async def test_a_child_is_claimed_with_the_deadline_of_its_parent(
    store: SqliteStore, clock: FakeClock, make: Callable[..., Job]
) -> None:
    parent = make(is_group=True, queue="control", deadline=clock.now() + 60)
    await store.jobs.add([parent])
    await store.jobs.add([make(parent_id=parent.id, key="a")])
    assert (await _claim(store, HERE)).job.deadline == parent.deadline


def test_each_job_is_given_once(make: Callable[..., Job]) -> None:
    recent, job = Recent(), make()
    recent.keep([job], now=0.0)
    assert [recent.take(job.id), recent.take(job.id)] == [job, None]


def test_a_full_hand_takes_no_more_until_its_oldest_are_stale(make: Callable[..., Job]) -> None:
    recent = Recent()
    old = [make() for _ in range(MOST_JOBS)]
    recent.keep(old, now=0.0)
    late, later = make(), make()
    recent.keep([late], now=STALE_SECONDS)
    recent.keep([later], now=STALE_SECONDS + 1)
    assert [recent.take(late.id), recent.take(later.id), recent.take(old[0].id)] == [None, later, None]


def test_large_bodies_fill_the_hand_sooner(make: Callable[..., Job]) -> None:
    recent = Recent()
    large = [make(body=Content(text="x" * (MOST_BYTES // 2))) for _ in range(3)]
    recent.keep(large, now=0.0)
    assert [recent.take(job.id) is not None for job in large] == [True, True, False]

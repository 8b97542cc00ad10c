"""One watch and one read for many who wait."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest

from forebay.api.reading import ANSWER, JobReader
from forebay.api.waiting import Waiting, wait_for_signal
from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Job
from forebay.domain.query import Parts


class Hints:
    """A Watch whose hints the test gives."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.given: asyncio.Queue[set[str]] = asyncio.Queue()
        self.is_closed = False

    def add(self, topics: Iterable[str]) -> None:
        self.topics |= set(topics)

    def discard(self, topics: Iterable[str]) -> None:
        self.topics -= set(topics)

    async def next(self, timeout_seconds: float | None = None) -> set[str]:
        return await self.given.get()

    def close(self) -> None:
        self.is_closed = True


class Reads:
    """The part of a JobStore that is read here."""

    def __init__(self) -> None:
        self.hints = Hints()
        self.asked: list[list[str]] = []
        self.error: Exception | None = None

    def watch(self, topics: Iterable[str] = ()) -> Hints:
        return self.hints

    async def get(self, tenant: str | None, job_ids: Sequence[str], parts: Parts) -> list[Job | None]:
        self.asked.append(list(job_ids))
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return [
            None if job_id == "none" else Job(id=job_id, kind="k", queue="q", created_at=0, deadline=1)
            for job_id in job_ids
        ]


@pytest.fixture
def store() -> Any:
    return Reads()


async def test_a_hint_wakes_all_who_wait_for_that_job_and_nobody_else(store: Any) -> None:
    waiting = Waiting(store)
    running = asyncio.create_task(waiting.run())
    with waiting.on("a") as first, waiting.on("a") as second, waiting.on("b") as other:
        assert store.hints.topics == {"job:a", "job:b"}
        await store.hints.given.put({"job:a", "job:unknown"})
        assert await wait_for_signal(first, 5)
        assert await wait_for_signal(second, 5)
        assert not other.is_set()
    assert store.hints.topics == set()
    running.cancel()


async def test_the_topic_stays_while_anyone_waits(store: Any) -> None:
    waiting = Waiting(store)
    with waiting.on("a"):
        with waiting.on("a"):
            pass
        assert store.hints.topics == {"job:a"}


async def test_closing_wakes_everyone(store: Any) -> None:
    waiting = Waiting(store)
    with waiting.on("a") as signal:
        waiting.close()
        assert await wait_for_signal(signal, 0)
    assert waiting.is_closing


async def test_reads_of_one_turn_are_one_read_of_the_store(store: Any) -> None:
    reader = JobReader(store)
    jobs = await asyncio.gather(*(reader.get("t", job_id) for job_id in ("a", "b", "none", "a")))
    assert [job.id if job else None for job in jobs] == ["a", "b", None, "a"]
    assert store.asked == [["a", "b", "none"]]  # the store gives a job's attempts once for each time it is asked


async def test_reads_of_other_tenants_and_parts_are_apart(store: Any) -> None:
    reader = JobReader(store)
    await asyncio.gather(reader.get("t", "a"), reader.get("u", "b"), reader.get("t", "c", ANSWER))
    assert store.asked == [["a"], ["b"], ["c"]]


async def test_a_failed_read_fails_for_all_who_asked(store: Any) -> None:
    reader = JobReader(store)
    store.error = StoreUnavailable("gone")
    outcomes = await asyncio.gather(reader.get("t", "a"), reader.get("t", "b"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable]


async def test_who_gives_up_harms_no_other_reader(store: Any) -> None:
    reader = JobReader(store)
    given_up = asyncio.create_task(reader.get("t", "a"))
    staying = asyncio.create_task(reader.get("t", "b"))
    await asyncio.sleep(0)
    given_up.cancel()
    assert cast("Job", await staying).id == "b"

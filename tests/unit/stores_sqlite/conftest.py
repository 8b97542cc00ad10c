"""One store in a file under a clock that stands still, and jobs for it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from forebay.domain.content import Content
from forebay.domain.ids import IdSource
from forebay.domain.job import Job
from forebay.stores.sqlite import SqliteStore, open_store
from forebay.testing.clock import FakeClock

QUEUE = "target:mill"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    store = await open_store(path, clock=clock)
    yield store
    await store.close()


@pytest.fixture
def make(clock: FakeClock) -> Callable[..., Job]:
    ids = IdSource(clock.now)

    def make_one(**fields: object) -> Job:
        now = clock.now()
        job = Job(
            id=ids.new("job"),
            kind="infer",
            queue=QUEUE,
            created_at=now,
            due_at=now,
            deadline=now + 3600,
            body=Content(text="{}"),
        )
        return replace(job, **fields)

    return make_one

"""The SQLite store passes the suites of every store: in memory, and on a file, where it also outlives its process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.ports import Clock
from forebay.stores.sqlite import SqliteStore, open_store
from forebay.testing.conformance.suite import DurableStoreSuite, JobStoreSuite, LimitStoreSuite, RecordStoreSuite
from forebay.testing.conformance.world import World, opened


@pytest.fixture(params=["memory", "file"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    path = ":memory:" if request.param == "memory" else str(tmp_path / "forebay.db")

    async def open_it(clock: Clock) -> SqliteStore:
        return await open_store(path, clock=clock)

    async with opened(open_it) as world:
        yield world


class TestJobs(JobStoreSuite):
    pass


class TestRecords(RecordStoreSuite):
    pass


class TestLimits(LimitStoreSuite):
    pass


@pytest.mark.parametrize("world", ["file"], indirect=True)
class TestDurability(DurableStoreSuite):
    pass

"""The PostgreSQL store passes the suites of every store."""

from collections.abc import AsyncIterator

import pytest

from forebay.ports import Clock
from forebay.stores.postgres import PostgresStore
from forebay.testing.conformance.suite import DurableStoreSuite, JobStoreSuite, LimitStoreSuite, RecordStoreSuite
from forebay.testing.conformance.world import World, opened
from tests.integration.postgres_house import empty_place, opened_at, server


@pytest.fixture
async def world() -> AsyncIterator[World]:
    place = await empty_place(server().url())

    async def open_it(clock: Clock) -> PostgresStore:
        return await opened_at(place, clock)

    async with opened(open_it) as world:
        yield world


class TestJobs(JobStoreSuite):
    pass


class TestRecords(RecordStoreSuite):
    pass


class TestLimits(LimitStoreSuite):
    pass


class TestDurability(DurableStoreSuite):
    pass

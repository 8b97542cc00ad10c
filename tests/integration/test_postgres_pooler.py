"""The store behind a pooler in transaction mode: nothing is left in a session, and nothing is missed there.

Everywhere behind one of our own, which never gives a client the same server twice; where PgBouncer is installed behind
that too.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from forebay.blobs.postgres import open_postgres_blobs
from forebay.domain.errors import StoreRefused
from forebay.domain.ids import IdSource
from forebay.ports import Clock
from forebay.stores.postgres import PostgresStore, check, migrate, open_store, read_place
from forebay.testing.conformance.blobs import pieces
from forebay.testing.conformance.claiming import Capping, Claiming
from forebay.testing.conformance.joining import Joining
from forebay.testing.conformance.suite import DurableStoreSuite
from forebay.testing.conformance.world import World, opened
from forebay.testing.pgbouncer import find_pgbouncer, pgbouncer
from forebay.testing.pooling import TransactionPooler
from forebay.testing.postgres import USER
from tests.integration.postgres_house import empty_place, server
from tests.integration.test_postgres_faults import Storm

OURS, PGBOUNCER = "ours", "PgBouncer"
POOLERS = [OURS] if find_pgbouncer() is None else [OURS, PGBOUNCER]


@pytest.fixture(scope="module")
def bouncer() -> Iterator[int]:
    """The port of a PgBouncer."""
    with pgbouncer(server()) as port:
        yield port


@pytest.fixture(params=POOLERS)
async def pooler(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """The pooler's port."""
    if request.param == PGBOUNCER:
        yield request.getfixturevalue("bouncer")
        return
    async with TransactionPooler(server().port, user=USER, database="postgres") as pooler:
        yield pooler.port


@pytest.fixture
async def world(pooler: int) -> AsyncIterator[World]:
    await empty_place(server().url())

    async def open_it(clock: Clock) -> PostgresStore:
        return await open_store(server().url(port=pooler) + "?pooler=transaction", clock=clock)

    async with opened(open_it) as world:
        yield world


class TestBehindAPooler(DurableStoreSuite, Claiming, Capping, Joining):
    async def test_blobs_are_written_and_read(self, world: World, pooler: int) -> None:
        store = await open_store(server().url(port=pooler) + "?pooler=transaction", clock=world.clock)
        blobs = await open_postgres_blobs(store.backend, ids=IdSource())
        info = await blobs.write(pieces(b"x" * 1_200_000))
        assert b"".join([piece async for piece in blobs.read(info.id, 5, 1_100_000)]) == b"x" * 1_099_995
        await store.close()

    async def test_layouts_are_migrated_and_checked(self, pooler: int) -> None:
        place = read_place(server().url(port=pooler) + "?pooler=transaction&schema=pooled")
        await migrate(place)
        assert await check(place) == []


async def test_workers_behind_it_lose_nothing_while_its_servers_are_ended(pooler: int, tmp_path: Path) -> None:
    query = "?pooler=transaction&schema=pooled_storm"
    await empty_place(server().url() + query)

    async def end(_: int) -> None:
        sql = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'active'"
        )
        await asyncio.to_thread(server().run, sql)

    assert await Storm(server().url(port=pooler) + query, tmp_path).run(end, times=2) == []


async def test_a_pooler_that_the_address_does_not_name_is_refused_with_the_parameter_to_add(
    pooler: int,
) -> None:
    with pytest.raises(StoreRefused, match="pooler=transaction"):
        await open_store(server().url(port=pooler))

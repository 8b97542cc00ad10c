"""One private PostgreSQL for all tests of a run, and a store in it that each test finds empty."""

import atexit
from contextlib import ExitStack
from functools import cache

from forebay.ports import Clock
from forebay.stores.postgres import Place, PostgresStore, migrate, open_store, read_place
from forebay.stores.postgres.link import Link
from forebay.testing.postgres import PostgresServer, postgres_server

_migrated: set[str] = set()


@cache
def server() -> PostgresServer:
    """Started at its first use, stopped when the tests end."""
    stack = ExitStack()
    started = stack.enter_context(postgres_server())
    atexit.register(stack.close)
    return started


async def empty_place(url: str, *, is_new: bool = True) -> Place:
    """The place of a migrated store without a row in it, or (``is_new`` False) as it is."""
    place = read_place(url)
    if not is_new:
        return place
    if url not in _migrated:
        await migrate(place)
        _migrated.add(url)
    link = Link(place, "test")
    async with link.transaction() as connection:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = $1 AND c.relkind = 'r' AND relname <> 'meta'",
            place.schema,
        )
        await connection.execute("; ".join(f"DELETE FROM {row[0]}" for row in tables))
    await link.close()
    return place


async def opened_at(place: Place, clock: Clock) -> PostgresStore:
    return await open_store(place, clock=clock)

"""Stores on a private PostgreSQL, and a session that gets in their way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from forebay.stores.postgres import migrate, read_place
from forebay.testing.postgres import PostgresServer


async def new_store(server: PostgresServer, name: str) -> str:
    """An empty store in a database of its own; its address."""
    url = server.make_database(name)
    await migrate(read_place(url))
    return url


@asynccontextmanager
async def held_transaction(url: str) -> AsyncIterator[None]:
    """Another session's transaction: its snapshot keeps what is deleted meanwhile from being cleared away."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await connection.fetchval("SELECT count(*) FROM pg_class")
        yield
    finally:
        await connection.close()

"""Databases as sources and sinks: SQLite, DuckDB, PostgreSQL."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import duckdb
import msgspec
import pytest

from forebay.domain.errors import RequestError, TargetError, TargetRejected, TargetUnavailable
from forebay.testing.ports import free_port
from tests.integration.connectors.table_house import TableHouse, table_house
from tests.integration.postgres_house import server


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[TableHouse]:
    async with table_house(tmp_path) as opened:
        yield opened


@pytest.fixture
def sqlite(house: TableHouse) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(house.folder / "shop.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE sales (id INTEGER, word TEXT, price REAL)")
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", [(1, "o'k", 1.5), (2, "x", None), (4, "o'k", 3)])
        yield connection


@pytest.fixture
async def postgres() -> AsyncIterator[Any]:
    connection = await asyncpg.connect(server().url())
    await connection.execute(
        "DROP TABLE IF EXISTS forebay_writes; DROP SCHEMA IF EXISTS shop CASCADE; CREATE SCHEMA shop"
    )
    await connection.execute("""
        CREATE TABLE shop.sales (id integer PRIMARY KEY, day date, price numeric, tags text[], facts json,
                                 at timestamptz);
        INSERT INTO shop.sales VALUES (1, '2026-01-02', 1.5, '{a,"b c"}', '{"a":\n 1}', '2026-01-02T03:04:05Z'),
                                      (2, '2026-02-03', NULL, NULL, NULL, NULL)""")
    yield connection
    await connection.close()


QUERY = "SELECT id, price FROM sales WHERE word = :word AND id > :least ORDER BY id"


async def test_sqlite_is_asked_with_bound_parameters(house: TableHouse, sqlite: sqlite3.Connection) -> None:
    asked = {"url": "sqlite:///shop.db", "query": QUERY, "args": {"least": "{params.least}"}}
    load = await house.run("read", sql=asked)
    assert await house.rows(load.output.table) == [{"id": 4, "price": 3.0}]
    nothing = {"url": "sqlite:///shop.db", "query": "SELECT id FROM sales WHERE id > 100"}
    empty = await house.run("read", sql=nothing)
    assert empty.output.table is not None
    assert list(empty.output.table.columns) == ["id"]


async def test_a_source_of_sqlite_is_never_written(house: TableHouse, sqlite: sqlite3.Connection) -> None:
    for query in ("DELETE FROM sales", "ATTACH 'other.db' AS other", "SELECT * FROM none"):
        with pytest.raises(RequestError):
            await house.run("read", sql={"url": "sqlite:///shop.db", "query": query})
    assert sqlite.execute("SELECT count(*) FROM sales").fetchone() == (3,)


async def test_a_file_of_duckdb_is_asked(house: TableHouse) -> None:
    with duckdb.connect(house.folder / "shop.duckdb") as connection:
        connection.execute("CREATE TABLE sales AS SELECT i AS id, 'o''k' AS word, i / 2 AS price FROM range(6) r(i)")
    load = await house.run("read", sql={"url": "duckdb:///shop.duckdb", "query": QUERY})
    assert [row["id"] for row in await house.rows(load.output.table)] == [4, 5]


async def test_postgresql_is_asked_and_keeps_its_types(house: TableHouse, postgres: Any) -> None:
    query = "SELECT * FROM shop.sales WHERE day >= :since ORDER BY id"
    asked = {"url": server().url(), "query": query, "args": {"since": "2026-01-01"}}
    load = await house.run("read", sql=asked)
    assert load.output.table is not None
    assert load.output.table.columns == {
        "id": "INTEGER",
        "day": "DATE",
        "price": "DOUBLE",
        "tags": "VARCHAR[]",
        "facts": "JSON",
        "at": "TIMESTAMP WITH TIME ZONE",
    }
    first, second = await house.rows(load.output.table)
    assert (first["day"], first["price"], first["tags"], first["facts"]) == ("2026-01-02", 1.5, ["a", "b c"], {"a": 1})
    assert second["tags"] is None


async def test_what_a_database_says_tells_no_password(house: TableHouse, postgres: Any) -> None:
    port = free_port()
    for url, kind in (
        (server().url().replace("forebay@", "forebay:geheim@"), TargetRejected),
        (f"postgresql://forebay:geheim@127.0.0.1:{port}/postgres", TargetUnavailable),
    ):
        with pytest.raises(TargetError) as raised:
            await house.run("read", sql={"url": url, "query": "SELECT * FROM none"})
        assert isinstance(raised.value, kind)
        assert "geheim" not in str(raised.value)


async def test_callers_choose_no_database(house: TableHouse) -> None:
    with pytest.raises(RequestError, match="params"):
        await house.run("read", sql={"url": "sqlite:///{params.word}.db", "query": "SELECT 1"})


ROWS = '{"id": 1, "word": "a", "tags": ["x"], "n": null}\n{"id": 2, "word": "b\\\\N", "tags": [], "n": 2.5}\n'
CHANGED = '{"id": 2, "word": "", "tags": null, "n": 3.5}\n{"id": 3, "word": "c", "tags": ["y"], "n": 1}\n'
WRITTEN = [(1, "a", None), (2, "b\\N", 2.5)]


async def _written(house: TableHouse, lines: str, run_id: str = "run_1", **options: Any) -> None:
    house.file("in.jsonl", lines)
    load = await house.run("read", path="in.jsonl")
    work = house.work("write", {"load": load.output}, **options)
    await house.tables.run(msgspec.structs.replace(work, run_id=run_id))


async def _in_sqlite(house: TableHouse) -> list[Any]:
    with closing(sqlite3.connect(house.folder / "out.db")) as connection:
        return connection.execute("SELECT id, word, n FROM made ORDER BY id, n").fetchall()


async def _in_duckdb(house: TableHouse) -> list[Any]:
    with duckdb.connect(house.folder / "out.duckdb") as connection:
        return connection.execute("SELECT id, word, n FROM made ORDER BY id, n").fetchall()


async def _in_postgres(house: TableHouse) -> list[Any]:
    connection = await asyncpg.connect(server().url())
    rows = await connection.fetch("SELECT id, word, n FROM shop.made ORDER BY id, n")
    await connection.close()
    return [tuple(row) for row in rows]


SINKS = pytest.mark.parametrize("sink", ["sqlite", "duckdb", "postgresql"])


def _sink(sink: str) -> tuple[dict[str, str], Callable[[TableHouse], Awaitable[list[Any]]]]:
    return {
        "sqlite": ({"url": "sqlite:///out.db", "table": "made"}, _in_sqlite),
        "duckdb": ({"url": "duckdb:///out.duckdb", "table": "made"}, _in_duckdb),
        "postgresql": ({"url": server().url(), "table": "shop.made"}, _in_postgres),
    }[sink]


@SINKS
async def test_a_table_is_replaced_and_written_again_it_is_the_same(
    house: TableHouse, postgres: Any, sink: str
) -> None:
    where, rows = _sink(sink)
    await _written(house, CHANGED, **where)
    for _ in range(2):
        await _written(house, ROWS, **where)
        assert await rows(house) == WRITTEN


@SINKS
async def test_rows_are_appended_once_for_each_run(house: TableHouse, postgres: Any, sink: str) -> None:
    where, rows = _sink(sink)
    for run_id in ("run_1", "run_1", "run_2"):
        await _written(house, ROWS, run_id, mode="append", **where)
    assert await rows(house) == sorted(WRITTEN + WRITTEN, key=lambda row: row[0])


@SINKS
async def test_rows_of_a_key_replace_each_other(house: TableHouse, postgres: Any, sink: str) -> None:
    where, rows = _sink(sink)
    for lines in (ROWS, CHANGED, CHANGED):
        await _written(house, lines, mode="upsert", key="id", **where)
    assert await rows(house) == [(1, "a", None), (2, "", 3.5), (3, "c", 1.0)]


@SINKS
async def test_a_write_that_fails_half_way_leaves_the_old_rows(house: TableHouse, postgres: Any, sink: str) -> None:
    where, rows = _sink(sink)
    await _written(house, ROWS, mode="upsert", key="id", **where)
    twice = '{"id": 7, "word": "a"}\n' * 2
    with pytest.raises((RequestError, TargetError)):
        await _written(house, twice, "run_2", mode="append", **where)  # its key is taken by the first of them
    assert await rows(house) == WRITTEN


async def test_callers_choose_no_table(house: TableHouse) -> None:
    with pytest.raises(RequestError, match="params"):
        await house.run("write", url="sqlite:///out.db", table="{params.word}")

"""Databases as data sources: values are bound, nothing is changed, and a time limit ends the statement."""

import asyncio
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import duckdb
import msgspec
import pytest

from forebay.connectors.data_sources import Connectors
from forebay.domain.data_source import QueryResult
from forebay.domain.errors import ConfigurationError, TargetRejected, TargetTimeout, TargetUnavailable
from forebay.policy.sql_text import read_statement
from forebay.ports import QuerySource
from forebay.testing.ports import free_port
from tests.integration.postgres_house import server

TABLE = "CREATE TABLE orders (id INTEGER, name TEXT, total DECIMAL(10, 2), made TIMESTAMP)"
ROWS = "INSERT INTO orders VALUES (1, 'lamp', 12.50, '2026-01-31 10:00:00'), (2, 'it''s', 3, NULL), (3, 'x', 1, NULL)"
#: Longer than any test: it ends by being ended.
ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "duckdb": "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE hash(a.range, b.range) = 1",
    "postgresql": "SELECT pg_sleep(3600)",
}


@cache
def _shop() -> str:
    """A database of its own: that of the other tests is looked at whole."""
    return server().make_database("shop")


async def made(kind: str, folder: Path) -> str:
    """A database with three orders, and its address."""
    if kind == "sqlite":
        with apsw.Connection(str(folder / "shop.db")) as database:
            database.execute(f"{TABLE}; {ROWS}")
        return "sqlite:///shop.db"
    if kind == "duckdb":
        with duckdb.connect(str(folder / "shop.duckdb")) as connection:
            connection.execute(f"{TABLE}; {ROWS}")
        return "duckdb:///shop.duckdb"
    url = _shop()
    connection = await asyncpg.connect(url)
    await connection.execute(f"DROP TABLE IF EXISTS orders; {TABLE}; {ROWS}")
    await connection.close()
    return url


class Asked:
    """A source, and its kind."""

    def __init__(self, kind: str, source: QuerySource) -> None:
        self.kind = kind
        self.source = source

    async def result(self, text: str, most_rows: int = 100, **values: Any) -> QueryResult:
        return await self.source.query(read_statement(text), values, most_rows=most_rows, timeout_seconds=60)

    async def rows(self, text: str, **values: Any) -> list[Any]:
        return [msgspec.json.decode(row) for row in (await self.result(text, **values)).rows]


@pytest.fixture(params=["sqlite", "duckdb", "postgresql"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Asked]:
    url = await made(request.param, tmp_path)
    source = Connectors(tmp_path).query_source(url, name="target 'shop'", connections=2)
    yield Asked(request.param, source)
    await source.close()


async def test_values_are_bound_and_never_a_part_of_the_statement(shop: Asked) -> None:
    assert await shop.rows("SELECT id FROM orders WHERE name = :name", name="it's") == [{"id": 2}]
    assert await shop.rows("SELECT id FROM orders WHERE name = :name", name="x' OR '1'='1") == []
    assert await shop.rows("SELECT id FROM orders WHERE id = :id AND name = :name AND id = :id", id=1, name="lamp") == [
        {"id": 1}
    ]


async def test_rows_are_objects_and_more_of_them_than_wanted_are_left_out(shop: Asked) -> None:
    result = await shop.result("SELECT id, name FROM orders ORDER BY id DESC", most_rows=2)
    assert result.columns == ("id", "name")
    assert [msgspec.json.decode(row) for row in result.rows] == [{"id": 3, "name": "x"}, {"id": 2, "name": "it's"}]
    assert result.is_truncated
    assert not (await shop.result("SELECT id FROM orders", most_rows=3)).is_truncated


async def test_an_answer_without_rows_has_its_columns(shop: Asked) -> None:
    result = await shop.result("SELECT id, name AS called FROM orders WHERE false")
    assert (result.columns, result.rows) == (("id", "called"), ())


async def test_values_without_a_form_in_json_are_texts(shop: Asked) -> None:
    [row] = await shop.rows("SELECT total, made FROM orders WHERE id = 1")
    if shop.kind == "sqlite":  # which has no such types
        assert row == {"total": 12.5, "made": "2026-01-31 10:00:00"}
    else:
        assert row == {"total": "12.50", "made": "2026-01-31T10:00:00"}


async def test_bytes_are_base64_and_json_is_json(shop: Asked) -> None:
    texts = {
        "sqlite": "SELECT x'00ff' AS b, NULL AS n, 1.5 AS f",
        "duckdb": "SELECT '\\x00\\xFF'::BLOB AS b, NULL AS n, 1.5::DOUBLE AS f, '{\"a\": [1]}'::JSON AS j, [1, 2] AS l",
        "postgresql": "SELECT '\\x00ff'::bytea AS b, NULL AS n, 1.5::float8 AS f, '{\"a\": [1]}'::jsonb AS j,"
        " ARRAY[1, 2] AS l",
    }
    [row] = await shop.rows(texts[shop.kind])
    expected = {"b": "AP8=", "n": None, "f": 1.5}
    assert row == (expected if shop.kind == "sqlite" else {**expected, "j": {"a": [1]}, "l": [1, 2]})


async def test_parameters_take_what_json_has(shop: Asked) -> None:
    texts = {
        "sqlite": "SELECT :n IS NULL AS n, :flag AS flag, (SELECT sum(value) FROM json_each(:list)) AS total",
        "duckdb": "SELECT :n IS NULL AS n, :flag::INTEGER AS flag, list_sum(:list) AS total",
        "postgresql": "SELECT :n::text IS NULL AS n, :flag::bool::int AS flag,"
        " (SELECT sum(x) FROM unnest(:list::int[]) x) AS total",
    }
    [row] = await shop.rows(texts[shop.kind], n=None, flag=True, list=[1, 2])
    assert {name: int(value) for name, value in row.items()} == {"n": 1, "flag": 1, "total": 3}


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO orders (id) VALUES (4)",
        "DELETE FROM orders",
        "DROP TABLE orders",
        "CREATE TABLE other (id INTEGER)",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        "COMMIT",
        "SELECT nonsense",
        "SELEC 1",
        "SELECT 1 AS a, 2 AS a FROM orders ORDER BY nothing",
    ],
)
async def test_what_would_write_or_is_wrong_is_refused_for_good(shop: Asked, text: str) -> None:
    with pytest.raises(TargetRejected, match="target 'shop'"):
        await shop.result(text)
    assert await shop.rows("SELECT count(*) AS n FROM orders") == [{"n": 3}]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("sqlite", "ATTACH '/tmp/other.db' AS other"),
        ("sqlite", "PRAGMA journal_mode = DELETE"),
        ("sqlite", "SELECT load_extension('x')"),
        ("duckdb", "SELECT * FROM read_text('/etc/hostname')"),
        ("duckdb", "SELECT * FROM 'other.csv'"),
        ("duckdb", "ATTACH 'other.duckdb'"),
        ("duckdb", "COPY orders TO 'other.csv'"),
        ("duckdb", "SET enable_external_access = true"),
        ("duckdb", "INSTALL httpfs"),
        ("postgresql", "SELECT set_config('transaction_read_only', 'off', true), nextval('x')"),
        ("postgresql", "COPY orders TO '/tmp/other.csv'"),
    ],
)
async def test_a_statement_reaches_nothing_but_its_database(tmp_path: Path, kind: str, text: str) -> None:
    source = Connectors(tmp_path).query_source(await made(kind, tmp_path), name="shop", connections=None)
    with pytest.raises(TargetRejected):
        await Asked(kind, source).result(text)
    await source.close()


async def test_a_wrong_value_is_refused_for_good(shop: Asked) -> None:
    texts = {
        "sqlite": "SELECT :x",
        "duckdb": "SELECT :x::INTEGER",
        "postgresql": "SELECT :x::int",
    }
    value: Any = 2**80 if shop.kind == "sqlite" else "seven"
    with pytest.raises(TargetRejected):
        await shop.result(texts[shop.kind], x=value)


async def test_a_statement_that_is_given_up_ends_and_leaves_room_for_others(shop: Asked) -> None:
    for _ in range(3):  # more than there are connections
        with pytest.raises((TimeoutError, TargetRejected)):
            async with asyncio.timeout(0.3):
                await shop.result(ENDLESS[shop.kind])
    assert await shop.rows("SELECT count(*) AS n FROM orders") == [{"n": 3}]


async def test_postgresql_itself_ends_what_takes_too_long(tmp_path: Path) -> None:
    source = Connectors().query_source(server().url(), name="shop", connections=None)
    with pytest.raises(TargetTimeout):
        await source.query(read_statement(ENDLESS["postgresql"]), {}, most_rows=1, timeout_seconds=0.1)
    await source.close()


async def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    for kind in ("sqlite", "duckdb"):
        url = await made(kind, tmp_path)
        asked = Asked(kind, Connectors(tmp_path).query_source(url, name="shop", connections=None))
        assert await asked.rows("SELECT count(*) AS n FROM orders") == [{"n": 3}]
        other = tmp_path / "other"
        other.mkdir(exist_ok=True)
        await made(kind, other)
        name = url.rpartition("/")[2]
        if kind == "sqlite":
            with apsw.Connection(str(other / name)) as database:
                database.execute("DELETE FROM orders")
        else:
            with duckdb.connect(str(other / name)) as connection:
                connection.execute("DELETE FROM orders")
        (other / name).replace(tmp_path / name)
        assert await asked.rows("SELECT count(*) AS n FROM orders") == [{"n": 0}]
        await asked.source.close()


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
async def test_a_file_that_is_not_there_is_refused_and_not_made(tmp_path: Path, kind: str) -> None:
    source = Connectors(tmp_path).query_source(f"{kind}:///missing.db", name="shop", connections=None)
    with pytest.raises(TargetRejected, match="does not exist"):
        await Asked(kind, source).result("SELECT 1")
    assert not (tmp_path / "missing.db").exists()
    await source.close()


async def test_a_server_that_is_away_is_unavailable_and_its_password_is_in_no_message() -> None:
    url = f"postgresql://someone:hunter2@127.0.0.1:{free_port()}/nowhere"
    source = Connectors().query_source(url, name="shop", connections=None)
    with pytest.raises(TargetUnavailable) as caught:
        await source.check()
    assert "hunter2" not in str(caught.value)
    await source.close()


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite://", "sqlite:///", "duckdb://x.db", "x.db", ""])
def test_what_is_no_address_of_a_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Connectors().query_source(url, name="shop", connections=None)

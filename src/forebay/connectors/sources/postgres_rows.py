"""Rows of a PostgreSQL database: one snapshot, read by a cursor of the server as JSON that the server writes."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from forebay.connectors.json_lines import lines_query
from forebay.connectors.parquet import copy_out, scanned
from forebay.connectors.postgres import Connection, PostgresPool
from forebay.connectors.queries.postgres_source import bindable
from forebay.connectors.sources.sqlite_rows import check_columns
from forebay.connectors.workplace import Workplace
from forebay.policy.sql_text import Statement

ROWS_AT_ONCE = 500
_TYPES = {
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "numeric": "DOUBLE",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "time": "TIME",
    "uuid": "UUID",
    "json": "JSON",
    "jsonb": "JSON",
}
_TEXTS = frozenset({"text", "varchar", "bpchar", "name", "char", "bytea", "inet", "cidr", "interval", "citext"})


def read_postgres(url: str, statement: Statement, values: dict[str, Any], place: Workplace, result: Path) -> None:
    """Raises: RequestError, TargetRejected, TargetUnavailable."""
    lines = place.path("rows.jsonl")
    name = shown_database(url)

    async def read() -> dict[str, str]:
        pool = PostgresPool(url, name, connections=1)
        try:
            async with pool.connection() as connection, connection.transaction(readonly=True):
                return await _write(connection, statement, values, lines, name)
        finally:
            await pool.close()

    types = place.wait(read())
    with place.connection() as connection:
        copy_out(connection, lines_query([lines], types), result, rows=scanned(connection))


def shown_database(url: str) -> str:
    """The database without the password of its address."""
    parts = urlsplit(url)
    return f"PostgreSQL {parts.hostname or 'localhost'}{parts.path}"


async def _write(
    connection: Connection, statement: Statement, values: dict[str, Any], lines: Path, name: str
) -> dict[str, str]:
    text = statement.with_places(lambda number, _: f"${number}")
    prepared = await connection.prepare(text)
    attributes = prepared.get_attributes()
    check_columns([one.name for one in attributes])
    kinds = [one.name for one in prepared.get_parameters()]
    bound = [bindable(name, key, values[key], kind) for key, kind in zip(statement.names, kinds, strict=True)]
    rows = await connection.prepare(f"SELECT to_jsonb(asked)::text FROM (\n{text}\n) AS asked")
    cursor = await rows.cursor(*bound)
    with lines.open("wb") as file:
        while batch := await cursor.fetch(ROWS_AT_ONCE):
            file.write("".join(row[0] + "\n" for row in batch).encode())
    return {one.name: _type(one.type.name) for one in attributes}


def _type(kind: str) -> str:
    """DuckDB's type for one of PostgreSQL, as its JSON has the values."""
    if kind.endswith("[]"):
        return f"{_type(kind[:-2])}[]"
    return _TYPES.get(kind, "VARCHAR" if kind in _TEXTS else "JSON")

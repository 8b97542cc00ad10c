"""A table of a SQLite file, written in one transaction: it is as it was until all is there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from forebay.connectors.duck import literal, name
from forebay.connectors.sinks.columns import sqlite_type, sqlite_value
from forebay.connectors.sinks.order import MARKS, Order
from forebay.connectors.sources.sqlite_rows import PASSING
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError, TargetUnavailable
from forebay.domain.pipeline import SINK_FAILED
from forebay.policy.steps.write import WriteMode

BUSY_MILLISECONDS = 30_000
ROWS_AT_ONCE = 1000


def write_sqlite(path: Path, order: Order, place: Workplace) -> None:
    """Raises: RequestError, TargetUnavailable: nothing was changed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = apsw.Connection(str(path))
        try:
            connection.set_busy_timeout(BUSY_MILLISECONDS)
            with place.stopper.breaking(connection.interrupt):
                _write(connection, order, place)
        finally:
            connection.close()
    except (apsw.FullError, *PASSING) as exc:
        raise TargetUnavailable(f"{path.name!r} can't be written now: {exc}") from exc
    except (apsw.Error, OverflowError, OSError) as exc:
        place.stopper.check()
        raise RequestError(f"{path.name!r}: {exc}", code=SINK_FAILED) from exc


def _write(connection: apsw.Connection, order: Order, place: Workplace) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if order.mode is WriteMode.APPEND and not _mark(connection, order.mark):
            return
        _make(connection, order)
        table = ".".join(name(part) for part in order.path)
        if order.mode is WriteMode.REPLACE:
            connection.execute(f"DELETE FROM {table}")
        columns = list(order.table.columns)
        marks = ", ".join("?" * len(columns))
        listed = ", ".join(name(column) for column in columns)
        connection.executemany(
            f"INSERT INTO {table} ({listed}) VALUES ({marks}) {_conflict(order)}", _rows(order, place)
        )
        place.stopper.check()
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _mark(connection: apsw.Connection, mark: str) -> bool:
    """Whether this append is still to be done."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {MARKS} (id TEXT PRIMARY KEY)")
    connection.execute(f"INSERT INTO {MARKS} VALUES (?) ON CONFLICT DO NOTHING", (mark,))
    return connection.changes() > 0


def _make(connection: apsw.Connection, order: Order) -> None:
    columns = [f"{name(column)} {sqlite_type(kind)}" for column, kind in order.table.columns.items()]
    if order.key:
        columns.append(f"PRIMARY KEY ({', '.join(name(one) for one in order.key)})")
    table = ".".join(name(part) for part in order.path)
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)})")


def _conflict(order: Order) -> str:
    if order.mode is not WriteMode.UPSERT:
        return ""
    others = [name(column) for column in order.table.columns if column not in order.key]
    change = "UPDATE SET " + ", ".join(f"{one} = excluded.{one}" for one in others) if others else "NOTHING"
    return f"ON CONFLICT ({', '.join(name(one) for one in order.key)}) DO {change}"


def _rows(order: Order, place: Workplace) -> Iterator[tuple[Any, ...]]:
    values = ", ".join(sqlite_value(column, kind) for column, kind in order.table.columns.items())
    with place.connection() as connection:
        found = connection.execute(f"SELECT {values} FROM read_parquet({literal(order.source)})")
        while rows := found.fetchmany(ROWS_AT_ONCE):
            place.stopper.check()
            yield from rows

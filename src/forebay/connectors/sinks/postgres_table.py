"""A table of a PostgreSQL database, written by COPY in one transaction: others see the old rows until all are there."""

from pathlib import Path
from typing import Any

from forebay.connectors.duck import literal, name
from forebay.connectors.postgres import PostgresPool
from forebay.connectors.sinks.columns import postgres_type, postgres_value
from forebay.connectors.sinks.order import MARKS, Order
from forebay.connectors.sources.postgres_rows import shown_database
from forebay.connectors.workplace import Workplace
from forebay.policy.steps.write import WriteMode

_NULL = "\\N"  # unquoted: whatever is text is quoted
_ARRIVED = "forebay_arrived"


def write_postgres(url: str, order: Order, place: Workplace) -> None:
    """Raises: TargetRejected, TargetUnavailable, TargetFailed: nothing was changed."""
    rows = place.path("rows.csv")
    _export(order, rows, place)

    async def write() -> None:
        pool = PostgresPool(url, shown_database(url), connections=1)
        try:
            async with pool.connection() as opened, opened.transaction():
                connection: Any = opened  # asyncpg's own: it copies, too
                await _write(connection, order, rows)
        finally:
            await pool.close()

    place.wait(write())


async def _write(connection: Any, order: Order, rows: Path) -> None:
    if order.mode is WriteMode.APPEND and not await _mark(connection, order.mark):
        return
    table, columns = ".".join(name(part) for part in order.path), list(order.table.columns)
    await connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({_columns(order)})")
    if order.mode is WriteMode.UPSERT:
        await connection.execute(f"CREATE TEMPORARY TABLE {_ARRIVED} (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DROP")
        await _copy(connection, rows, (_ARRIVED,), columns)
        listed = ", ".join(name(column) for column in columns)
        await connection.execute(
            f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {_ARRIVED} {_conflict(order, columns)}"
        )
        return
    if order.mode is WriteMode.REPLACE:
        await connection.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")  # readers go on; writers wait
        await connection.execute(f"DELETE FROM {table}")
    await _copy(connection, rows, order.path, columns)


async def _mark(connection: Any, mark: str) -> bool:
    """Whether this append is still to be done."""
    await connection.execute(f"CREATE TABLE IF NOT EXISTS {MARKS} (id text PRIMARY KEY, written_at timestamptz)")
    done = await connection.execute(f"INSERT INTO {MARKS} VALUES ($1, now()) ON CONFLICT DO NOTHING", mark)
    return bool(done.endswith(" 1"))


async def _copy(connection: Any, rows: Path, path: tuple[str, ...], columns: list[str]) -> None:
    schema = path[0] if len(path) > 1 else None
    await connection.copy_to_table(
        path[-1], source=str(rows), schema_name=schema, columns=columns, format="csv", null=_NULL
    )


def _columns(order: Order) -> str:
    columns = [f"{name(column)} {postgres_type(kind)}" for column, kind in order.table.columns.items()]
    if order.key:
        columns.append(f"PRIMARY KEY ({', '.join(name(one) for one in order.key)})")
    return ", ".join(columns)


def _conflict(order: Order, columns: list[str]) -> str:
    others = [name(column) for column in columns if column not in order.key]
    change = "UPDATE SET " + ", ".join(f"{one} = excluded.{one}" for one in others) if others else "NOTHING"
    return f"ON CONFLICT ({', '.join(name(one) for one in order.key)}) DO {change}"


def _export(order: Order, rows: Path, place: Workplace) -> None:
    values = ", ".join(
        f"{postgres_value(column, kind)} AS {name(column)}" for column, kind in order.table.columns.items()
    )
    with place.connection() as connection:
        query = f"SELECT {values} FROM read_parquet({literal(order.source)})"
        options = f"FORMAT csv, HEADER false, FORCE_QUOTE *, NULLSTR {literal(_NULL)}, USE_TMP_FILE false"
        connection.execute(f"COPY ({query}) TO {literal(rows)} ({options})")

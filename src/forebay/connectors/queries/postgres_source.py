"""A PostgreSQL database that is asked: each statement in a transaction that can't write, with its own time limit."""

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from forebay.connectors.postgres import DEFAULT_CONNECTIONS, PostgresPool
from forebay.connectors.queries.rows import RowGatherer
from forebay.domain.data_source import QueryResult
from forebay.domain.errors import TargetRejected
from forebay.policy.sql_text import Statement

FETCHED_ROWS = 200
LOCK_SHARE = 0.5  # of the time limit, that a lock may be waited for
_LIMITS = (
    "SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true),"
    " set_config('idle_in_transaction_session_timeout', $1, true)"
)
_JSON = frozenset({"json", "jsonb"})


class PostgresSource:
    """``QuerySource`` over a database."""

    def __init__(self, url: str, name: str, *, connections: int | None = None) -> None:
        self._name = name
        self._pool = PostgresPool(url, name, connections=connections or DEFAULT_CONNECTIONS)

    async def query(
        self, statement: Statement, values: Mapping[str, Any], *, most_rows: int, timeout_seconds: float
    ) -> QueryResult:
        text = statement.with_places(lambda number, _: f"${number}")
        milliseconds = max(1, math.ceil(timeout_seconds * 1000))
        async with self._pool.connection() as connection, connection.transaction(readonly=True):
            await connection.execute(_LIMITS, str(milliseconds), str(max(1, int(milliseconds * LOCK_SHARE))))
            prepared = await connection.prepare(text)
            attributes = prepared.get_attributes()
            if not attributes:
                raise TargetRejected(f"{self._name}: one SELECT can be asked, nothing else")
            arguments = [
                bindable(self._name, name, values[name], kind.name)
                for name, kind in zip(statement.names, prepared.get_parameters(), strict=True)
            ]
            gatherer = RowGatherer(
                [one.name for one in attributes],
                most_rows=most_rows,
                json_columns=[place for place, one in enumerate(attributes) if one.type.name in _JSON],
            )
            cursor = await prepared.cursor(*arguments)
            while rows := await cursor.fetch(min(FETCHED_ROWS, most_rows + 1)):
                if not gatherer.take([tuple(row) for row in rows]):
                    break
        return gatherer.result()

    async def check(self) -> str:
        async with self._pool.connection() as connection:
            version = await connection.fetchval("SHOW server_version")
        return f"PostgreSQL {version} answers"

    async def close(self) -> None:
        await self._pool.close()


def bindable(source: str, name: str, value: Any, kind: str) -> Any:
    """A value of JSON as the driver wants it for a type of PostgreSQL. Raises: TargetRejected: it is none."""
    if kind.endswith("[]") and isinstance(value, list):
        return [bindable(source, name, one, kind[:-2]) for one in value]
    try:
        return value if value is None else _AS.get(kind, _as_it_is)(value)
    except (ValueError, TypeError, InvalidOperation, binascii.Error) as exc:
        message = f"the parameter {name!r} is no {kind}: {type(value).__name__}"
        raise TargetRejected(f"{source}: {message}") from exc


def _as_it_is(value: Any) -> Any:
    return value


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise TypeError
    return Decimal(str(value))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _interval(value: Any) -> timedelta:
    return timedelta(seconds=value)


_AS: dict[str, Callable[[Any], Any]] = {
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "timestamptz": datetime.fromisoformat,
    "time": time.fromisoformat,
    "timetz": time.fromisoformat,
    "interval": _interval,  # seconds
    "numeric": _decimal,
    "bytea": lambda value: base64.b64decode(value, validate=True),
    "json": _json,
    "jsonb": _json,
}

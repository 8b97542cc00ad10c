"""The rows of a store as ``domain.archive`` has them; see ``ports.Archive``."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from forebay.domain.archive import PARTS, Part, Row
from forebay.domain.job import Job
from forebay.stores.postgres.faults import BUSY, LOST, unavailable
from forebay.stores.postgres.labels import labels
from forebay.stores.postgres.link import WRITING, Connection, Link
from forebay.stores.postgres.place import Place
from forebay.stores.postgres.transaction import scrub

ROWS = 256  # at once: a body has up to 64 KiB
LOCK_SECONDS = 5
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ"  # it is taken by the first query, and so after the locks
# SHARE lets others read; loading keeps them from reading too: no sweep takes a blob that no row names yet for lost
_MODES = {False: "SHARE", True: "ACCESS EXCLUSIVE"}
_UNHURRIED = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; "
    f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL enable_seqscan = on"
)
_CASTS = {"text": "text", "int": "bigint", "float": "float8", "bool": "boolean", "jsonb": "jsonb"}


@asynccontextmanager
async def hold_archive(place: Place, *, is_writing: bool = False) -> AsyncIterator["PostgresArchive"]:
    """Opens all rows of an existing store of this program's layout, held against every other process: writers wait, and
    where ``is_writing`` readers too. What was loaded is there after the block, and nothing of it if that raises.

    Raises: StoreUnavailable: someone works on it, or it can't be reached.
    """
    link = Link(place, "archive")
    tables = ", ".join(["leases", "workers", *(part.name for part in PARTS)])
    try:
        async with link.transaction(WRITING if is_writing else _SNAPSHOT) as connection:
            await connection.execute(_UNHURRIED)
            await connection.execute(f"LOCK TABLE {tables} IN {_MODES[is_writing]} MODE")
            yield PostgresArchive(connection)
            if is_writing:
                await connection.execute(f"ANALYZE {tables}")
    except (*LOST, *BUSY) as exc:
        raise unavailable(exc) from exc
    finally:
        await link.close()


class PostgresArchive:
    """See ``ports.Archive``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def rows(self, part: Part) -> AsyncIterator[list[Row]]:
        columns, order = ", ".join(part.columns), ", ".join(part.key)
        select = f"SELECT {columns} FROM {part.name} ORDER BY {order}"  # noqa: S608 - our own names
        async for page in self._pages(part.name, select):
            yield [tuple(row) for row in page]

    async def blob_ids(self) -> AsyncIterator[list[str]]:
        async for page in self._pages("blob_ids", "SELECT DISTINCT blob_id FROM blob_refs ORDER BY blob_id"):
            yield [row[0] for row in page]

    async def load(self, part: Part, rows: Sequence[Row]) -> Sequence[Row]:
        kept = [tuple(scrub(value) if isinstance(value, str) else value for value in row) for row in rows]
        columns = part.columns | _DERIVED.get(part.name, {})
        derive = _DERIVERS.get(part.name)
        full = kept if derive is None else [row + derive(dict(zip(part.columns, row, strict=True))) for row in kept]
        arrays = ", ".join(f"${place}::{_CASTS[kind]}[]" for place, kind in enumerate(columns.values(), 1))
        text = f"INSERT INTO {part.name} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"  # noqa: S608 - our own names
        await self._connection.fetch(text, *zip(*full, strict=True))
        return kept

    async def leased(self) -> int:
        return int(await self._connection.fetchval("SELECT count(*) FROM leases"))

    async def last_fence(self) -> int:
        return int(await self._connection.fetchval("SELECT last_value FROM fences"))

    async def raise_fence(self, fence: int) -> None:
        if fence > await self.last_fence():
            await self._connection.fetchval("SELECT setval('fences', $1)", fence)

    async def _pages(self, name: str, select: str) -> AsyncIterator[list[Any]]:
        """By a cursor of this name, which no other query that is under way may have."""
        await self._connection.execute(f"DECLARE archive_{name} NO SCROLL CURSOR FOR {select}")
        while page := await self._connection.fetch(f"FETCH {ROWS} FROM archive_{name}"):
            yield page
        await self._connection.execute(f"CLOSE archive_{name}")


def _of_job(row: dict[str, Any]) -> Row:
    spec = msgspec.json.decode(row["fixed"], type=Job).spec
    texts = [None if text is None else scrub(text) for text in (spec.target, spec.model)]
    return (*texts, labels(spec.metadata))


def _of_record(row: dict[str, Any]) -> Row:
    return (labels(msgspec.json.decode(row["data"], type=dict[str, Any])) or "{}",)


_DERIVED = {"jobs": {"target": "text", "model": "text", "metadata": "jsonb"}, "records": {"labels": "jsonb"}}
_DERIVERS = {"jobs": _of_job, "records": _of_record}

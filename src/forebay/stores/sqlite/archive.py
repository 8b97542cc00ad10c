"""The rows of a store as ``domain.archive`` has them; see ``ports.Archive``."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path

import apsw

from forebay.domain.archive import Part, Row
from forebay.domain.errors import StoreUnavailable
from forebay.stores.sqlite.writer import DAMAGED, TRANSIENT, damaged

ROWS = 256  # at once: a body has up to 64 KiB
BUSY_SECONDS = 10


@asynccontextmanager
async def hold_archive(path: Path | str, *, is_writing: bool = False) -> AsyncIterator["SqliteArchive"]:
    """Opens all rows of an existing store of this program's layout, held against every other writer; what was loaded
    is there after the block, and nothing of it if that raises.

    Raises: StoreUnavailable: another process writes, or the disk is full.
    """
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(BUSY_SECONDS * 1000)
        connection.execute("PRAGMA synchronous = FULL")
        await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
        yield SqliteArchive(connection)
        if is_writing:
            await asyncio.to_thread(connection.execute, "ANALYZE")
        await asyncio.to_thread(connection.execute, "COMMIT" if is_writing else "ROLLBACK")
    except TRANSIENT as exc:
        raise StoreUnavailable(f"{str(path)!r} can't be held for moving it ({exc}): stop what works on it") from exc
    except DAMAGED as exc:
        raise damaged(exc) from exc
    finally:
        await asyncio.to_thread(connection.close)  # rolls back what was not committed


class SqliteArchive:
    """See ``ports.Archive``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    async def rows(self, part: Part) -> AsyncIterator[list[Row]]:
        columns = ", ".join(part.columns)
        cursor = self._connection.execute(f"SELECT {columns} FROM {part.name} ORDER BY {', '.join(part.key)}")  # noqa: S608 - our own names
        flags = [place for place, kind in enumerate(part.columns.values()) if kind == "bool"]
        while page := await asyncio.to_thread(lambda: list(islice(cursor, ROWS))):
            yield [_with_flags(row, flags) for row in page] if flags else page

    async def blob_ids(self) -> AsyncIterator[list[str]]:
        cursor = self._connection.execute("SELECT DISTINCT blob_id FROM blob_refs ORDER BY blob_id")
        while page := await asyncio.to_thread(lambda: list(islice(cursor, ROWS))):
            yield [str(row[0]) for row in page]

    async def load(self, part: Part, rows: Sequence[Row]) -> Sequence[Row]:
        places = ", ".join("?" * len(part.columns))
        text = f"INSERT INTO {part.name} ({', '.join(part.columns)}) VALUES ({places})"  # noqa: S608 - our own names
        await asyncio.to_thread(self._connection.executemany, text, rows)
        return rows

    async def leased(self) -> int:
        return int(str(self._connection.execute("SELECT count(*) FROM leases").fetchall()[0][0]))

    async def last_fence(self) -> int:
        found = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'leases'").fetchall()
        return int(str(found[0][0])) if found else 0

    async def raise_fence(self, fence: int) -> None:
        if fence > await self.last_fence():
            self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'leases'")
            self._connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('leases', ?)", (fence,))


def _with_flags(row: Row, flags: Sequence[int]) -> Row:
    values = list(row)
    for place in flags:
        values[place] = bool(values[place])
    return tuple(values)

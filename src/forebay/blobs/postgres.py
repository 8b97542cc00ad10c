"""Blobs in PostgreSQL, beside the jobs: pieces in rows, so that neither side ever holds more than one of them.

A blob becomes visible by the last of its transactions, which waits for the disk; those before it need not, because the
log is written in order. What a sender left behind half-way is swept like any blob that nothing refers to.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from forebay.domain.errors import NotFound, StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.ports import BlobInfo

PIECE_BYTES = 512 * 1024
PAGE = 1000  # ids of one answer to the sweep
T = TypeVar("T")

_BIND = "INSERT INTO meta (name, value) VALUES ('blobs', $1) ON CONFLICT DO NOTHING"
_BOUND = "SELECT value FROM meta WHERE name = 'blobs'"
_OPEN = "INSERT INTO blobs (id, written_at) VALUES ($1, $2)"
_TOUCH = "UPDATE blobs SET written_at = $2 WHERE id = $1"  # a slow sender's blob never looks abandoned
_PIECE = "INSERT INTO blob_pieces (blob_id, start, data) VALUES ($1, $2, $3)"
_CLOSE = "UPDATE blobs SET bytes = $2, sha256 = $3, written_at = $4 WHERE id = $1 RETURNING id"
_SIZE = "SELECT bytes FROM blobs WHERE id = $1 AND bytes IS NOT NULL"
_READ = """
SELECT substring(data FROM (greatest($2 - start, 0) + 1)::integer FOR ($3 - greatest($2, start))::integer)
FROM blob_pieces WHERE blob_id = $1 AND start = $4"""
_DELETE = "DELETE FROM blobs WHERE id = ANY($1::text[])"
_DELETE_PIECES = "DELETE FROM blob_pieces WHERE blob_id = ANY($1::text[])"
_OLDER = """
SELECT id, written_at FROM blobs WHERE written_at < $1 AND (written_at, id) > ($2, $3)
ORDER BY written_at, id LIMIT $4"""


class Queries(Protocol):
    """A transaction that is open."""

    async def text(self, sql: str, bindings: Sequence[object]) -> list[Any]: ...


class Database(Protocol):
    """The store's database, as it lends its connections: one short transaction at a time."""

    async def transact(
        self, work: Callable[[Queries], Awaitable[T]], *, is_writing: bool = False, is_hasty: bool = False
    ) -> T:
        """Raises: StoreUnavailable: nothing is known to be done; try again."""
        ...

    async def now(self, session: Any) -> float: ...


class PostgresBlobs:
    """See BlobStore."""

    def __init__(self, database: Database, store_id: str, ids: IdSource) -> None:
        self._database = database
        self._store_id = store_id
        self._ids = ids

    @property
    def store_id(self) -> str:
        return self._store_id

    async def write(self, chunks: AsyncIterator[bytes]) -> BlobInfo:
        blob_id = self._ids.new("blob")
        await self._touch(_OPEN, blob_id)
        try:
            return await self._fill(blob_id, chunks)
        except BaseException:
            with suppress(StoreUnavailable):  # the sweep does it then
                await self.delete([blob_id])
            raise

    async def read(self, blob_id: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        size = await self.size(blob_id)
        end = size if end is None else min(end, size)
        while start < end:
            piece = start - start % PIECE_BYTES
            stop = min(end, piece + PIECE_BYTES)
            rows = await self._ask(_READ, blob_id, start, stop, piece)
            if not rows:
                raise NotFound(f"there is no blob {blob_id!r} any more")
            yield rows[0][0]
            start = stop

    async def size(self, blob_id: str) -> int:
        rows = await self._ask(_SIZE, blob_id)
        if not rows:
            raise NotFound(f"there is no blob {blob_id!r}")
        return int(rows[0][0])

    def local_path(self, blob_id: str) -> Path | None:  # noqa: ARG002 - the port's signature
        return None

    async def delete(self, blob_ids: Sequence[str]) -> None:
        named = list(blob_ids)

        async def delete(queries: Queries) -> None:
            await queries.text(_DELETE_PIECES, [named])
            await queries.text(_DELETE, [named])

        await self._database.transact(delete, is_writing=True)

    async def older_than(self, written_before: float) -> AsyncIterator[str]:
        after: tuple[float, str] = (float("-inf"), "")
        while True:
            rows = await self._ask(_OLDER, written_before, *after, PAGE)
            for row in rows:
                yield row[0]
            if len(rows) < PAGE:
                return
            after = (rows[-1][1], rows[-1][0])

    async def _fill(self, blob_id: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        digest = hashlib.sha256()
        waiting = bytearray()
        written = 0
        async for chunk in chunks:
            digest.update(chunk)
            waiting += chunk
            while len(waiting) >= PIECE_BYTES:
                await self._append(blob_id, written, bytes(waiting[:PIECE_BYTES]))
                del waiting[:PIECE_BYTES]
                written += PIECE_BYTES
        if waiting:
            await self._append(blob_id, written, bytes(waiting))
        size, sha256 = written + len(waiting), digest.hexdigest()

        async def close(queries: Queries) -> float:
            now = await self._database.now(queries)
            if not await queries.text(_CLOSE, [blob_id, size, sha256, now]):
                raise StoreUnavailable(f"the blob {blob_id!r} was swept while it was written: its sender was too slow")
            return now

        written_at = await self._database.transact(close, is_writing=True)
        return BlobInfo(id=blob_id, bytes=size, sha256=sha256, written_at=written_at)

    async def _append(self, blob_id: str, start: int, piece: bytes) -> None:
        async def append(queries: Queries) -> None:
            await queries.text(_PIECE, [blob_id, start, piece])
            await queries.text(_TOUCH, [blob_id, await self._database.now(queries)])

        await self._database.transact(append, is_writing=True, is_hasty=True)

    async def _touch(self, sql: str, blob_id: str) -> None:
        async def touch(queries: Queries) -> None:
            await queries.text(sql, [blob_id, await self._database.now(queries)])

        await self._database.transact(touch, is_writing=True, is_hasty=True)

    async def _ask(self, sql: str, *bindings: object) -> list[Any]:
        async def ask(queries: Queries) -> list[Any]:
            return await queries.text(sql, bindings)

        return await self._database.transact(ask)


async def open_postgres_blobs(database: Database, *, ids: IdSource) -> PostgresBlobs:
    """Opens the blobs of the store's database, which has its tables for them from the first layout on."""

    async def bind(queries: Queries) -> str:
        await queries.text(_BIND, [f"postgresql:{uuid4().hex}"])
        return str((await queries.text(_BOUND, []))[0][0])

    return PostgresBlobs(database, await database.transact(bind, is_writing=True), ids)

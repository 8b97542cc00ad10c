"""The RecordStore: small versioned JSON documents with an expiry."""

import builtins
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from forebay.domain.errors import VersionConflict
from forebay.domain.stored import StoredRecord
from forebay.stores.sqlite.backend import Backend
from forebay.stores.sqlite.transaction import Row, Session, Tx, as_json
from forebay.stores.sqlite.writer import Order


class SqliteRecords:
    """Records in one table, their blob references in ``blob_refs``."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def put(self, record: StoredRecord) -> StoredRecord:
        return await self._backend.write(Order.BARRIER, _put, record)

    async def get(self, tenant: str, kind: str, record_id: str) -> StoredRecord | None:
        now = self._backend.clock.now()
        rows = await self._backend.read(lambda session: session.run("records.get", tenant, kind, record_id, now))
        return _record(rows[0]) if rows else None

    async def list(
        self,
        tenant: str | None,
        kind: str,
        *,
        after: str | None = None,
        limit: int = 100,
        is_ascending: bool = True,
        match: dict[str, str] | None = None,
    ) -> builtins.list[StoredRecord]:
        now = self._backend.clock.now()
        name = f"records.list_{'all_' if tenant is None else ''}{'up' if is_ascending else 'down'}"

        def read(session: Session) -> builtins.list[Row]:
            return session.run(name, tenant, kind, after or "", now, as_json(match or {}), limit)

        return [_record(row) for row in await self._backend.read(read)]

    async def delete(self, tenant: str, kind: str, record_id: str) -> bool:
        return await self._backend.write(Order.BARRIER, _delete, (tenant, kind, record_id))

    async def expire(self, *, limit: int = 1000) -> int:
        return await self._backend.write(Order.BARRIER, _expire, limit)


def _record(row: Row) -> StoredRecord:
    return StoredRecord(
        tenant=row[0],
        kind=row[1],
        id=row[2],
        version=row[3],
        data=row[4],
        created_at=row[5],
        expires_at=row[6],
        blobs=msgspec.json.decode(row[7], type=tuple[str, ...]),
    )


def _put(tx: Tx, records: Sequence[StoredRecord]) -> Sequence[StoredRecord | VersionConflict]:
    return [_put_one(tx, record) for record in records]


def _put_one(tx: Tx, record: StoredRecord) -> StoredRecord | VersionConflict:
    known = tx.run("records.get", record.tenant, record.kind, record.id, tx.now)
    version = known[0][3] if known else 0
    if version != record.version:
        what = f"{record.kind} {record.id!r}"
        if record.version == 0:
            return VersionConflict(f"{what} exists already")
        return VersionConflict(f"{what} was changed by someone else: it has version {version}; read it again")
    stored = replace(record, version=version + 1)
    tx.run(
        "records.put",
        stored.tenant,
        stored.kind,
        stored.id,
        stored.version,
        stored.data,
        stored.created_at,
        stored.expires_at,
        as_json(stored.blobs),
    )
    owner = _owner(stored.tenant, stored.kind, stored.id)
    tx.bulk("delete.refs", [owner])
    if stored.blobs:
        tx.bulk("add.insert_refs", [(owner, "record", blob_id) for blob_id in stored.blobs])
    return stored


def _delete(tx: Tx, names: Sequence[tuple[str, str, str]]) -> Sequence[bool]:
    replies: list[bool] = []
    for name in names:
        gone = tx.run("records.delete", *name)
        tx.bulk("delete.refs", [_owner(*name)])
        replies.append(bool(gone) and (gone[0][0] is None or gone[0][0] > tx.now))
    return replies


def _expire(tx: Tx, limits: Sequence[int]) -> Sequence[int]:
    replies: list[int] = []
    for limit in limits:
        gone = tx.run("records.expire", tx.now, limit)
        tx.bulk("delete.refs", [_owner(*row) for row in gone])
        replies.append(len(gone))
    return replies


def _owner(tenant: str, kind: str, record_id: str) -> str:
    return f"record:{tenant}:{kind}:{record_id}"

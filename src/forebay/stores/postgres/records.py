"""The RecordStore: small versioned JSON documents with an expiry."""

import builtins
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from forebay.domain.errors import VersionConflict
from forebay.domain.stored import StoredRecord
from forebay.stores.postgres.backend import Backend
from forebay.stores.postgres.calls import Order
from forebay.stores.postgres.labels import labels
from forebay.stores.postgres.transaction import Row, Session, Tx, as_json


class PostgresRecords:
    """Records in one table, their blob references in ``blob_refs``."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def put(self, record: StoredRecord) -> StoredRecord:
        return await self._backend.write(Order.BARRIER, _put, record)

    async def get(self, tenant: str, kind: str, record_id: str) -> StoredRecord | None:
        async def read(session: Session) -> builtins.list[Row]:
            return await session.run("records.get", tenant, kind, record_id, await self._backend.now(session))

        rows = await self._backend.read(read)
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
        name = f"records.list_{'all_' if tenant is None else ''}{'up' if is_ascending else 'down'}"

        async def read(session: Session) -> builtins.list[Row]:
            now = await self._backend.now(session)
            return await session.run(name, tenant, kind, after or "", now, labels(match or {}) or "{}", limit)

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


async def _put(tx: Tx, records: Sequence[StoredRecord]) -> Sequence[StoredRecord | VersionConflict]:
    return [await _put_one(tx, record) for record in records]


async def _put_one(tx: Tx, record: StoredRecord) -> StoredRecord | VersionConflict:
    stored = replace(record, version=record.version + 1)
    name = (stored.tenant, stored.kind, stored.id)
    members = msgspec.json.decode(stored.data, type=dict[str, Any])
    values = (*name, stored.version, stored.data, stored.created_at, stored.expires_at, as_json(stored.blobs))
    # a version that must be there is looked for under the row's lock: an upsert would add what was deleted meanwhile
    known = await tx.run("records.hold", *name, tx.now) if record.version else []
    if (known or not record.version) and await tx.run(
        "records.put", *values, labels(members) or "{}", record.version, tx.now
    ):
        owner = _owner(*name)
        await tx.bulk("delete.refs", [owner])
        await tx.bulk("add.insert_refs", [(owner, "record", blob_id) for blob_id in stored.blobs])
        return stored
    what = f"{record.kind} {record.id!r}"
    if record.version == 0:
        return VersionConflict(f"{what} exists already")
    rows = await tx.run("records.get", *name, tx.now)
    version = rows[0][3] if rows else 0
    return VersionConflict(f"{what} was changed by someone else: it has version {version}; read it again")


async def _delete(tx: Tx, names: Sequence[tuple[str, str, str]]) -> Sequence[bool]:
    replies: list[bool] = []
    for name in names:
        gone = await tx.run("records.delete", *name)
        await tx.bulk("delete.refs", [_owner(*name)])
        replies.append(bool(gone) and (gone[0][0] is None or gone[0][0] > tx.now))
    return replies


async def _expire(tx: Tx, limits: Sequence[int]) -> Sequence[int]:
    replies: list[int] = []
    for limit in limits:
        gone = await tx.run("records.expire", tx.now, limit)
        await tx.bulk("delete.refs", [_owner(*row) for row in gone])
        replies.append(len(gone))
    return replies


def _owner(tenant: str, kind: str, record_id: str) -> str:
    return f"record:{tenant}:{kind}:{record_id}"

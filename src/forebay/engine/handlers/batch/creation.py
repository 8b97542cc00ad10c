"""Making batches: of a file, and of an ended batch's lines that did not succeed. API and ``forebay run`` call it."""

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator

import msgspec

from forebay.domain.batch import BATCH, ERRORS, BatchArgs, args_of, batch_id
from forebay.domain.errors import Conflict
from forebay.domain.file import BATCH_INPUT, FILE, FileData, encoded
from forebay.domain.job import Job, Notice, Spec
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord
from forebay.domain.webhook import Subject
from forebay.engine.groups import make_group
from forebay.engine.handlers.batch.reading import pieces_of
from forebay.engine.services import Services
from forebay.policy.batch_input import custom_id_of
from forebay.ports import BlobInfo, BlobStore

_HASH_MASK = (1 << 64) - 1


class BatchOrder(Record, frozen=True, kw_only=True):
    """A batch as it is asked for. ``lifespan_seconds``: the completion window."""

    args: BatchArgs
    lifespan_seconds: float
    priority: int = 0
    budget_usd: float | None = None
    metadata: dict[str, str] = {}
    key: str = ""
    fingerprint: str = ""
    origin: str = ""
    on_end: tuple[Notice, ...] = ()
    kind: str = BATCH


async def make_batch(order: BatchOrder, services: Services, *, tenant: str = "default") -> Job:
    """Makes the job; ``JobStore.add`` makes it durable. It refers to the input's blob itself: the file may go."""
    args = order.args
    subject = Subject.BATCH if order.kind == BATCH else Subject.MESSAGE_BATCH
    deadline = services.clock.now() + order.lifespan_seconds
    return msgspec.structs.replace(
        make_group(order.kind, order, services, tenant=tenant, deadline=deadline),
        spec=Spec(
            target=args.target,
            model=args.model,
            endpoint=args.endpoint,
            budget_usd=order.budget_usd,
            metadata=order.metadata,
            args=msgspec.json.encode(args).decode(),
        ),
        on_end=(*order.on_end, *await services.notices.of(tenant, subject)),
        blobs=(args.input_blob_id,) if args.input_blob_id else (),
    )


async def put_file(
    info: BlobInfo, data: FileData, services: Services, *, tenant: str = "default", expires_at: float | None = None
) -> StoredRecord:
    """Makes a file of a written blob."""
    record = StoredRecord(
        kind=FILE,
        id=services.ids.new("file"),
        tenant=tenant,
        data=encoded(msgspec.structs.replace(data, bytes=info.bytes, blob_id=info.id)),
        created_at=services.clock.now(),
        expires_at=expires_at,
        blobs=(info.id,),
    )
    return await services.records.put(record)


async def retry_input(batch: Job, services: Services) -> tuple[str, str]:
    """Makes a new input file of the lines that stand in an ended batch's error file. Returns its id and its blob's.

    Raises: Conflict: there are none.
    """
    args = args_of(batch.spec.args)
    wanted = await _failed_ids(batch, services)
    if not wanted or args.input_blob_id is None:
        raise Conflict(f"Batch {batch_id(batch.id)!r} has no failed, expired or cancelled line to retry")
    info = await services.blobs.write(_chosen(args.input_blob_id, wanted, services.blobs))
    data = FileData(filename=f"{batch_id(batch.id)}_retry.jsonl", purpose=BATCH_INPUT, content_type="application/jsonl")
    record = await put_file(info, data, services, tenant=batch.tenant)
    return record.id, info.id


async def _failed_ids(batch: Job, services: Services) -> "array[int]":
    """The hashes of the ids in the error file, sorted: eight bytes a line."""
    hashes = array("Q")
    for segment in await services.jobs.segments(batch.id, ERRORS):
        async for piece in pieces_of(services.blobs, segment.blob_id):
            await asyncio.to_thread(_add_hashes, piece, hashes)
    return array("Q", sorted(hashes))


def _add_hashes(piece: bytes, hashes: "array[int]") -> None:
    hashes.extend(
        hash(custom_id) & _HASH_MASK for raw in piece.split(b"\n") if (custom_id := custom_id_of(raw)) is not None
    )


async def _chosen(blob_id: str, wanted: "array[int]", blobs: BlobStore) -> AsyncIterator[bytes]:
    async for piece in pieces_of(blobs, blob_id):
        yield await asyncio.to_thread(_matching, piece, wanted)


def _matching(piece: bytes, wanted: "array[int]") -> bytes:
    lines = [raw for raw in piece.split(b"\n") if raw.strip() and _is_wanted(raw, wanted)]
    return b"".join([line + b"\n" for line in lines])


def _is_wanted(raw: bytes, wanted: "array[int]") -> bool:
    custom_id = custom_id_of(raw)
    if custom_id is None:
        return False
    number = hash(custom_id) & _HASH_MASK
    place = bisect_left(wanted, number)
    return place < len(wanted) and wanted[place] == number

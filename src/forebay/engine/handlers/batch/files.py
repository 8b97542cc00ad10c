"""The files of a batch as stored records: there as soon as there may be a line in them, final when it ends."""

import msgspec

from forebay.domain.batch import BATCH, OUTPUT, BatchArgs, batch_id, stream_file_id
from forebay.domain.content import Segment
from forebay.domain.errors import VersionConflict
from forebay.domain.file import BATCH_OUTPUT, FILE, FileData, encoded
from forebay.domain.job import Job
from forebay.domain.stored import StoredRecord
from forebay.engine.services import Services

JSONL = "application/jsonl"


async def open_file(batch: Job, stream: str, services: Services) -> None:
    """Makes the file that will have the stream's lines. Idempotent. Only OpenAI's wire knows a batch by its files."""
    if batch.kind != BATCH:
        return
    record = StoredRecord(
        kind=FILE,
        id=stream_file_id(batch.id, stream),
        tenant=batch.tenant,
        data=_data(batch, stream, 0),
        created_at=services.clock.now(),
    )
    try:
        await services.records.put(record)
    except VersionConflict:
        return  # an earlier run of this handler made it


async def close_file(batch: Job, stream: str, args: BatchArgs, services: Services, last: Segment | None) -> None:
    """Gives the file its size and its expiry, or takes it away if it has no line. Idempotent.

    ``last`` is the segment that will stand in it with the commit that follows.
    """
    if batch.kind != BATCH:
        return
    file_id = stream_file_id(batch.id, stream)
    segments = await services.jobs.segments(batch.id, stream)
    size = sum(segment.bytes for segment in segments) + (last.bytes if last else 0)
    if not size:
        await services.records.delete(batch.tenant, FILE, file_id)
        return
    await open_file(batch, stream, services)
    record = await services.records.get(batch.tenant, FILE, file_id)
    if record is None:
        return  # deleted by its owner in this moment
    now = services.clock.now()
    expires_at = now + services.bounds.result_ttl_seconds
    if args.output_expires_after is not None:
        expires_at = min(expires_at, max(record.created_at + args.output_expires_after, now))
    data = _data(batch, stream, size)
    await services.records.put(msgspec.structs.replace(record, data=data, expires_at=expires_at))


def _data(batch: Job, stream: str, size: int) -> str:
    name = batch_id(batch.id) + ("_output.jsonl" if stream == OUTPUT else "_error.jsonl")
    return encoded(
        FileData(filename=name, purpose=BATCH_OUTPUT, bytes=size, job_id=batch.id, stream=stream, content_type=JSONL)
    )

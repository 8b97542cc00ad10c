"""The copy of an erased job in its batch's error file: other lines keep their places, by number and by byte."""

from collections.abc import AsyncIterator

from forebay.domain.batch import ERRORS
from forebay.domain.content import Segment
from forebay.domain.job import Job
from forebay.engine.handlers.batch.lines import with_erased
from forebay.engine.services import Services
from forebay.ports import BlobStore


async def erase_line(job: Job, services: Services) -> None:
    """Rewrites the segment that has the line of a job of an ended batch. Idempotent."""
    for segment in await services.jobs.segments(job.parent_id, ERRORS):
        if not await _has_line(job, segment, services.blobs):
            continue
        rewritten = await services.blobs.write(_erased(job, segment, services.blobs))
        if await services.jobs.rewrite(job.parent_id, segment, rewritten.id):
            await services.blobs.delete(await services.jobs.orphans([segment.blob_id]))
        else:  # another line of it was erased meanwhile
            await services.blobs.delete([rewritten.id])
            await erase_line(job, services)


async def _has_line(job: Job, segment: Segment, blobs: BlobStore) -> bool:
    async for line in _lines(segment, blobs):
        if with_erased(job, line) != line:
            return True
    return False


async def _erased(job: Job, segment: Segment, blobs: BlobStore) -> AsyncIterator[bytes]:
    async for line in _lines(segment, blobs):
        yield with_erased(job, line)


async def _lines(segment: Segment, blobs: BlobStore) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in blobs.read(segment.blob_id):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest

"""Erasure: what jobs were asked and what they answered goes from wherever it stands; their rows and ledgers stay.

Called by the routes that delete, and by the notices of what is not to be stored.
"""

import re
from collections.abc import AsyncIterator, Sequence

import msgspec

from forebay.domain.batch import BATCH, BATCH_KINDS, ERRORS, OUTPUT, stream_file_id
from forebay.domain.change import Lookup, Reply
from forebay.domain.content import Content
from forebay.domain.errors import Conflict, NotFound
from forebay.domain.file import FILE, file_data
from forebay.domain.infer_args import infer_args
from forebay.domain.job import Job
from forebay.domain.query import JobQuery, Parts
from forebay.engine.events import forget
from forebay.engine.handlers.batch.erasing import erase_line
from forebay.engine.handlers.pipeline.erasing import forget_run
from forebay.engine.intake import INFER, load_text
from forebay.engine.services import Services

PAGE = 500
_CONTENT = Parts(body=True, result=True, segments=True)


class _FileBody(msgspec.Struct):
    """The body of an answer that is no JSON: it names the file that has it."""

    object: str
    file_id: str


_FILE_BODY = msgspec.json.Decoder(_FileBody)
_FILE_ID = re.compile(r'"file_id":"(file-[A-Za-z0-9_-]{1,64})"')  # as we write it


async def erase(tenant: str, job_id: str, services: Services) -> Reply:
    """Erases one ended job with all below it: of a batch its lines, its output and its error file.

    ``not_dead`` and nothing done while it lives. Idempotent: a job's own row is the last to lose its content, so that
    an erasure that broke off is begun anew by the next. The blobs go at once, and not with the next sweep.

    Raises: Conflict: it is a line of a batch that has not ended.
    """
    [job] = await services.jobs.get(tenant, [job_id], _CONTENT)
    if job is None:
        return Reply(id=job_id, lookup=Lookup.NOT_FOUND)
    if not job.is_terminal:
        return Reply(id=job_id, lookup=Lookup.NOT_DEAD, status=job.status, ending=job.ending)
    if job.parent_id:
        await _erase_copy(job, services)
    if job.is_group:
        async for page in _below(job, services):
            replies = await _erase(page, services)
            if any(reply.lookup is Lookup.NOT_DEAD for reply in replies):  # a call that is being broken off
                return Reply(id=job_id, lookup=Lookup.NOT_DEAD, status=job.status)
        await forget(job, services)
    remembered = await forget_run(job, services)
    [reply] = await _erase([job], services)
    await drop(remembered, services)
    return reply


async def _erase_copy(job: Job, services: Services) -> None:
    """Of a batch's line that failed: the error file has it too."""
    [batch] = await services.jobs.get(job.tenant, [job.parent_id])
    if batch is None or batch.kind not in BATCH_KINDS:
        return
    if not batch.is_terminal:  # it may be writing that file now
        raise Conflict(
            f"Job {job.id!r} is a line of {batch.id!r}, which is {batch.status}: erase it when that has ended"
        )
    await erase_line(job, services)


async def _below(group: Job, services: Services) -> AsyncIterator[list[Job]]:
    """All descendants, the deepest first."""
    query = JobQuery(tenant=group.tenant, parent_id=group.id, is_ascending=True, limit=PAGE, parts=_CONTENT)
    while page := await services.jobs.find(query):
        for child in page:
            if child.is_group:
                async for deeper in _below(child, services):
                    yield deeper
        yield page
        query = msgspec.structs.replace(query, after=page[-1].id)


async def _erase(jobs: Sequence[Job], services: Services) -> list[Reply]:
    """Files that have the answers first: nothing would name them any more."""
    blobs = [blob_id for job in jobs for blob_id in _blobs(job)]
    for job in jobs:
        named = _files(job)
        for file_id in [*named, *await _mentioned(job, services)]:
            record = await services.records.get(job.tenant, FILE, file_id)
            if record is not None and (file_id in named or file_data(record).result_of == job.id):
                await services.records.delete(job.tenant, FILE, file_id)
                blobs += record.blobs
    replies = await services.jobs.erase(jobs[0].tenant, [job.id for job in jobs])
    await drop(blobs, services)
    return replies


async def drop(blob_ids: Sequence[str], services: Services) -> None:
    """Deletes those of the blobs that nothing refers to any more. Whoever was about to refer to one finds it gone."""
    if blob_ids and (orphans := await services.jobs.orphans(blob_ids)):
        await services.blobs.delete(orphans)


def _files(job: Job) -> list[str]:
    """The files that have the job's answer, and those that were made of a form's parts."""
    named = [stream_file_id(job.id, stream) for stream in (OUTPUT, ERRORS)] if job.kind == BATCH else []
    if job.kind == INFER and (args := infer_args(job.spec.args)).is_form:
        named += args.files
    if job.result is None or job.result.body.text is None:
        return named
    try:
        body = _FILE_BODY.decode(job.result.body.text)
    except msgspec.DecodeError:
        return named
    return [*named, body.file_id] if body.object == "file" else named


async def _mentioned(job: Job, services: Services) -> list[str]:
    """The files that stand anywhere in the job's answer: some are its own."""
    if job.kind != INFER or job.result is None:
        return []
    try:
        text = await load_text(job.result.body, services.blobs)
    except NotFound:
        return []
    return list(dict.fromkeys(_FILE_ID.findall(text)))


def _blobs(job: Job) -> list[str]:
    """All that the job refers to: those of a file that is still there stay with it."""
    contents: list[Content | None] = [job.body, job.result.body if job.result else None]
    own = [content.blob_id for content in contents if content is not None and content.blob_id is not None]
    return [*own, *(segment.blob_id for segment in job.segments), *job.blobs]

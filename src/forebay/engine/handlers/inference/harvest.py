"""Harvest: what a batch brought, whoever began it, and however it ended."""

from collections.abc import AsyncIterator

from msgspec.structs import replace

from forebay.domain.asking import Begun
from forebay.domain.batch import ERRORS, LEDGER, OUTPUT
from forebay.domain.job import DEAD, Job, Status
from forebay.domain.query import JobQuery, Parts
from forebay.engine.handlers.batch.lines import output_line
from forebay.engine.services import Services
from forebay.ports.asking import Answers, BatchLines, RequestTables

PAGE = 500
_SUCCEEDED = frozenset({Status.SUCCEEDED})


async def harvest(begun: Begun, batch: Job, tables: RequestTables, services: Services) -> tuple[Answers, int]:
    """Reads an ended batch's answers, and how many calls it made. Nothing of it is changed."""
    blobs = {
        name: tuple(segment.blob_id for segment in await services.jobs.segments(batch.id, name))
        for name in (OUTPUT, ERRORS, LEDGER)
    }
    lines: list[bytes] = []
    calls = 0
    # A batch that ended without its handler (poison) has not taken these over. They are paid.
    async for job in _children(batch, _SUCCEEDED, services, Parts(result=True)):
        lines.append(await output_line(job, services.blobs))
        calls += job.attempt_count
    async for job in _children(batch, DEAD, services, Parts()):
        calls += job.attempt_count
    answers = await tables.answers(
        BatchLines(
            form=begun.form,
            schema=begun.schema,
            how=begun.how,
            input_blob_id=begun.input_blob_id,
            segments=(*blobs[OUTPUT], *blobs[ERRORS]),
            ledgers=blobs[LEDGER],
            lines=tuple(lines),
            now=services.clock.now(),
        )
    )
    return answers, calls + answers.calls


async def _children(batch: Job, statuses: frozenset[Status], services: Services, parts: Parts) -> AsyncIterator[Job]:
    query = JobQuery(
        tenant=batch.tenant,
        parent_id=batch.id,
        statuses=statuses,
        is_collected=False if statuses == _SUCCEEDED else None,
        is_ascending=True,
        limit=PAGE,
        parts=parts,
    )
    after: str | None = None
    while page := await services.jobs.find(replace(query, after=after)):
        for job in page:
            yield job
        after = page[-1].id

"""The last phase of a batch: the error file, written once from the dead rows and from what was never sent."""

from collections import Counter
from collections.abc import AsyncIterator

import msgspec

from forebay.domain.answer import Answer, Done, Taking
from forebay.domain.batch import ERRORS, OUTPUT, BatchArgs, BatchError, Cursor, Report
from forebay.domain.change import Tally
from forebay.domain.content import Segment
from forebay.domain.job import DEAD, Ending, Job, JobError, Result
from forebay.domain.query import JobQuery, Parts
from forebay.engine.handlers.batch.files import close_file
from forebay.engine.handlers.batch.lines import ending_error, output_line, overtaken_by, unsent_line
from forebay.engine.handlers.batch.reading import InputLine, lines_of
from forebay.engine.handlers.batch.taking import PAGE, segment_of
from forebay.engine.intake import store_text
from forebay.engine.services import Services
from forebay.policy.batch_input import custom_id_of


async def finish(batch: Job, args: BatchArgs, cursor: Cursor, tally: Tally, services: Services) -> Answer:
    """Writes the error file and answers Done; under an ``ending`` the store ends the batch as that says."""
    overtaken: Counter[Ending | None] = Counter()
    errors = await segment_of(ERRORS, _error_lines(batch, args, cursor, overtaken, services), services)
    await close_file(batch, OUTPUT, args, services, None)
    await close_file(batch, ERRORS, args, services, errors)
    report = Report(
        total=cursor.total,
        completed=tally.succeeded,
        failed=cursor.total - tally.succeeded,
        cancelled=overtaken[Ending.CANCEL],
        expired=overtaken[Ending.EXPIRE],
    )
    segments: tuple[Segment, ...] = (errors,) if errors else ()
    return Done(result=await report_result(report, services), taking=Taking(segments=segments))


async def report_result(report: Report, services: Services) -> Result:
    """A batch's report as its result."""
    text = msgspec.json.encode(report).decode()
    return Result(status_code=None, body=await store_text(text, services.blobs))


def refusal_of(errors: tuple[BatchError, ...]) -> str:
    """One sentence on a bad input."""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    place = f"line {errors[0].line}: " if errors[0].line else ""
    return f"The input file can't be used: {place}{errors[0].message}{more}"


async def _error_lines(
    batch: Job, args: BatchArgs, cursor: Cursor, overtaken: Counter[Ending | None], services: Services
) -> AsyncIterator[bytes]:
    after: str | None = None
    while page := await _dead(batch, after, services):
        yield b"".join([await output_line(job, services.blobs) for job in page])
        overtaken.update(map(overtaken_by, page))
        after = page[-1].id
    if cursor.is_all_sent or args.input_blob_id is None:
        return
    ending = batch.ending or Ending.CANCEL
    error = ending_error(ending)
    async for lines in lines_of(services.blobs, args.input_blob_id, start=cursor.offset, line=cursor.line):
        unsent = [_unsent(line, error, services) for line in lines if line.raw]
        overtaken[ending] += len(unsent)
        yield b"".join(unsent)


async def _dead(batch: Job, after: str | None, services: Services) -> list[Job]:
    return await services.jobs.find(
        JobQuery(
            tenant=batch.tenant,
            parent_id=batch.id,
            statuses=DEAD,
            is_ascending=True,
            after=after,
            limit=PAGE,
            parts=Parts(result=True),
        )
    )


def _unsent(line: InputLine, error: JobError, services: Services) -> bytes:
    return unsent_line(services.ids.new("batch_req"), custom_id_of(line.raw) or "", error)

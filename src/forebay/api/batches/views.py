"""The batch view: OpenAI's Batch, projected from a job, its cursor and its tally.

``in_progress_at`` and ``finalizing_at`` stand in the cursor; ``cancelling_at`` in a record that the cancelling request
leaves (the store keeps no time of an ending); the times of ends are the job's ``finished_at``.
"""

from collections.abc import Sequence

import msgspec

from forebay.api.batches.admission import asked_to_cancel_at
from forebay.api.context import Api
from forebay.domain.attempt import Usage
from forebay.domain.batch import (
    ERRORS,
    OUTPUT,
    BatchError,
    Cursor,
    Phase,
    Report,
    args_of,
    batch_id,
    cursor_of,
    stream_file_id,
)
from forebay.domain.change import Tally
from forebay.domain.content import Segment
from forebay.domain.errors import NotFound
from forebay.domain.job import Ending, ErrorCode, Job, Status
from forebay.domain.query import Parts
from forebay.engine.intake import load_text
from forebay.ports import BlobStore

WITH_RESULT = Parts(result=True)


class Counts(msgspec.Struct, kw_only=True):
    """Live; ``completed + failed == total`` in every terminal state."""

    total: int
    completed: int
    failed: int


class InputDetails(msgspec.Struct, kw_only=True):
    """Of the input tokens."""

    cached_tokens: int


class OutputDetails(msgspec.Struct, kw_only=True):
    """Of the output tokens."""

    reasoning_tokens: int


class BatchUsage(msgspec.Struct, kw_only=True):
    """Tokens of all calls."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ErrorEntry(msgspec.Struct, kw_only=True):
    """One thing that is wrong with the input file."""

    code: str
    line: int | None
    message: str
    param: str | None


class ErrorList(msgspec.Struct, kw_only=True):
    """All that is wrong, up to 1,000."""

    object: str = "list"
    data: list[ErrorEntry]


class BatchView(msgspec.Struct, kw_only=True):
    """OpenAI's Batch, and ``cost_usd``."""

    id: str
    object: str = "batch"
    endpoint: str
    model: str | None
    errors: ErrorList | None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: Counts
    usage: BatchUsage | None
    cost_usd: float | None
    metadata: dict[str, str] | None


async def views_of(jobs: Sequence[Job], api: Api) -> list[BatchView]:
    """The views of batches, read with their results."""
    tallies = await api.services.jobs.tally([job.id for job in jobs])
    return [await _view(job, tally, api) for job, tally in zip(jobs, tallies, strict=True)]


def status_of(job: Job) -> str:
    """Where a batch stands, in OpenAI's words."""
    match job.status:
        case Status.SUCCEEDED:
            return "completed"
        case Status.CANCELLED:
            return "cancelled"
        case Status.FAILED:
            return "expired" if job.error is not None and job.error.code == ErrorCode.EXPIRED else "failed"
        case _:
            return "cancelling" if job.ending is Ending.CANCEL else cursor_of(job.progress).phase


async def _view(job: Job, tally: Tally, api: Api) -> BatchView:
    args, cursor, status = args_of(job.spec.args), cursor_of(job.progress), status_of(job)
    ended = _second(job.finished_at)
    report = await report_of(job, api.services.blobs)
    return BatchView(
        id=batch_id(job.id),
        endpoint=args.endpoint,
        model=args.model,
        errors=_errors(job, report),
        input_file_id=args.input_file_id,
        completion_window=args.completion_window,
        status=status,
        output_file_id=_output_file(job, cursor, tally),
        error_file_id=await _error_file(job, cursor, tally, api),
        created_at=int(job.created_at),
        in_progress_at=_second(cursor.in_progress_at),
        expires_at=int(job.deadline),
        finalizing_at=_second(cursor.finalizing_at),
        completed_at=ended if status == "completed" else None,
        failed_at=ended if status == "failed" else None,
        expired_at=ended if status == "expired" else None,
        cancelling_at=await _cancelling_at(job, status, api),
        cancelled_at=ended if status == "cancelled" else None,
        request_counts=_counts(job, cursor, tally),
        usage=_usage(tally.usage),
        cost_usd=tally.cost_usd,
        metadata=job.spec.metadata or None,
    )


def _counts(job: Job, cursor: Cursor, tally: Tally) -> Counts:
    failed = tally.failed + tally.cancelled + cursor.refused
    if job.is_terminal:  # what was never sent counts as failed
        failed = cursor.total - tally.succeeded
    return Counts(total=cursor.total, completed=tally.succeeded, failed=failed)


def _output_file(job: Job, cursor: Cursor, tally: Tally) -> str | None:
    """Known from the moment there may be a line; none at the end if no line succeeded."""
    if cursor.phase is Phase.VALIDATING or (job.is_terminal and not tally.succeeded):
        return None
    return stream_file_id(job.id, OUTPUT)


async def _error_file(job: Job, cursor: Cursor, tally: Tally, api: Api) -> str | None:
    if not job.is_terminal or cursor.phase is Phase.VALIDATING or cursor.total == tally.succeeded:
        return None
    segments: list[Segment] = await api.services.jobs.segments(job.id, ERRORS)
    return stream_file_id(job.id, ERRORS) if segments else None


async def _cancelling_at(job: Job, status: str, api: Api) -> int | None:
    if status not in {"cancelling", "cancelled"}:
        return None
    return int(await cancelling_moment(job, api))


async def cancelling_moment(job: Job, api: Api) -> float:
    """When it was asked to be cancelled. As a job (`/v1/jobs/{id}/cancel`): the first time that is known after it."""
    asked_at = await asked_to_cancel_at(job, api)
    return asked_at or cursor_of(job.progress).finalizing_at or job.finished_at or api.services.clock.now()


async def report_of(job: Job, blobs: BlobStore) -> Report | None:
    """What an ended batch says of itself; None before, and when it was erased."""
    if job.result is None:
        return None
    try:
        return msgspec.json.decode(await load_text(job.result.body, blobs), type=Report)
    except NotFound:  # erased
        return None


def _errors(job: Job, report: Report | None) -> ErrorList | None:
    found = report.errors if report else ()
    if not found and job.error is not None and status_of(job) == "failed":
        found = (BatchError(code=job.error.code, message=job.error.message),)
    if not found:
        return None
    entries = [
        ErrorEntry(code=error.code, line=error.line, message=error.message, param=error.param) for error in found
    ]
    return ErrorList(data=entries)


def _usage(usage: Usage | None) -> BatchUsage:
    usage = usage or Usage()
    return BatchUsage(
        input_tokens=usage.input_tokens,
        input_tokens_details=InputDetails(cached_tokens=usage.cached_tokens),
        output_tokens=usage.output_tokens,
        output_tokens_details=OutputDetails(reasoning_tokens=usage.reasoning_tokens),
        total_tokens=usage.total_tokens,
    )


def _second(moment: float | None) -> int | None:
    return None if moment is None else int(moment)

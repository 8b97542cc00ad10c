"""The message batch view: Anthropic's MessageBatch, projected from a job, its cursor and its tally. Counts are live."""

from collections.abc import Sequence

import msgspec
from starlette.requests import Request

from forebay.api.batches.views import cancelling_moment, report_of
from forebay.api.context import Api
from forebay.api.times import rfc3339
from forebay.domain.batch import Report, args_of, cursor_of, message_batch_id
from forebay.domain.change import Tally
from forebay.domain.job import Ending, ErrorCode, Job, Status
from forebay.domain.query import JobQuery

ENDED = "ended"
_PAGE = 1000


class RequestCounts(msgspec.Struct, kw_only=True):
    """They always add up to the number of requests."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class MessageBatchView(msgspec.Struct, kw_only=True):
    """Anthropic's MessageBatch."""

    id: str
    type: str = "message_batch"
    processing_status: str
    request_counts: RequestCounts
    created_at: str
    expires_at: str
    ended_at: str | None
    cancel_initiated_at: str | None
    archived_at: str | None
    results_url: str | None


async def views_of(jobs: Sequence[Job], request: Request, api: Api) -> list[MessageBatchView]:
    """The views of batches, read with their results."""
    tallies = await api.services.jobs.tally([job.id for job in jobs])
    return [await _view(job, tally, request, api) for job, tally in zip(jobs, tallies, strict=True)]


def status_of(job: Job) -> str:
    """Where a batch stands, in Anthropic's words."""
    if job.is_terminal:
        return ENDED
    return "canceling" if job.ending is Ending.CANCEL else "in_progress"


async def _view(job: Job, tally: Tally, request: Request, api: Api) -> MessageBatchView:
    status = status_of(job)
    is_cancelled = status == "canceling" or job.status is Status.CANCELLED
    url = f"{str(request.base_url).rstrip('/')}/v1/messages/batches/{message_batch_id(job.id)}/results"
    return MessageBatchView(
        id=message_batch_id(job.id),
        processing_status=status,
        request_counts=await _counts(job, tally, api),
        created_at=rfc3339(job.created_at),
        expires_at=rfc3339(job.deadline),
        ended_at=None if job.finished_at is None else rfc3339(job.finished_at),
        cancel_initiated_at=rfc3339(await cancelling_moment(job, api)) if is_cancelled else None,
        archived_at=None,
        results_url=url if status == ENDED else None,
    )


async def _counts(job: Job, tally: Tally, api: Api) -> RequestCounts:
    cursor = cursor_of(job.progress)
    total = args_of(job.spec.args).requests or cursor.total
    if job.is_terminal:
        report = await report_of(job, api.services.blobs) or Report(cancelled=tally.cancelled)
        canceled, expired = report.cancelled, report.expired
        errored = total - tally.succeeded - canceled - expired
    else:
        canceled = tally.cancelled
        expired = await _expired(job, api) if api.services.clock.now() >= job.deadline and tally.failed else 0
        errored = tally.failed - expired + cursor.refused
    return RequestCounts(
        processing=total - tally.succeeded - errored - canceled - expired,
        succeeded=tally.succeeded,
        errored=errored,
        canceled=canceled,
        expired=expired,
    )


async def _expired(job: Job, api: Api) -> int:
    """Requests that ended past their deadline while the batch still gathers its results: at most a window of them."""
    query = JobQuery(
        tenant=job.tenant,
        parent_id=job.id,
        statuses=frozenset({Status.FAILED}),
        code=ErrorCode.EXPIRED,
        limit=_PAGE,
    )
    count = 0
    while page := await api.services.jobs.find(query):
        count += len(page)
        query = msgspec.structs.replace(query, after=page[-1].id)
    return count

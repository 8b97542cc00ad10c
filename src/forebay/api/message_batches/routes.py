"""Anthropic's ``/v1/messages/batches``. Its batches are not OpenAI's, nor the reverse: each wire sees its own alone."""

from contextlib import suppress

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from forebay.api.batches.admission import admit_batch, ask_to_cancel, identified, known_batch
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.files.content import Content, progress_headers
from forebay.api.hops import hops_of
from forebay.api.idempotency import REPLAYED, identify
from forebay.api.jobs.listing import read_limit
from forebay.api.message_batches.input import BatchInput
from forebay.api.message_batches.results import result_lines
from forebay.api.message_batches.views import MessageBatchView, status_of, views_of
from forebay.api.paging import Span, page_response
from forebay.api.passing import passed_of
from forebay.api.reading import ANSWER
from forebay.domain.batch import (
    ERRORS,
    MESSAGE_BATCH,
    OUTPUT,
    BatchArgs,
    message_batch_id,
    message_batch_job_id,
)
from forebay.domain.content import Segment
from forebay.domain.errors import Conflict, NotFound, RequestError, VersionConflict
from forebay.domain.job import Job, Status
from forebay.domain.query import JobQuery
from forebay.domain.stored import StoredRecord
from forebay.engine.erasure import erase as erase_job
from forebay.engine.handlers.batch import BatchOrder
from forebay.policy.resolution import MESSAGES

MOST_LISTED = 1000  # Source: Anthropic's API reference, as the next two
DEFAULT_LISTED = 20
LIFESPAN_SECONDS = 86_400.0
JSONL = "application/x-jsonl"
DELETED = "message_batch_deleted"  # records: batches that were deleted, whose jobs stay with their ledger


class MessageBatchList(Span[MessageBatchView], kw_only=True):
    """A page of message batches."""


class MessageBatchDeleted(msgspec.Struct, kw_only=True):
    """The reply to a deleted message batch."""

    id: str
    type: str = "message_batch_deleted"


async def create(request: Request) -> Response:
    """POST /v1/messages/batches: durable, and found by a GET, when this answers."""
    api, caller = api_of(request), caller_of(request)
    passed = passed_of(request)
    given = BatchInput(api.services.bounds)
    info = await given.write(request, api.services.blobs)
    identity = identify(request, given.digest, body_key=given.idempotency_key, passed=passed)
    if known := await known_batch(identity, api, caller):
        return await _response(await load_batch(message_batch_id(known), api, caller), request, headers=REPLAYED)
    args = BatchArgs(
        input_file_id="",
        input_blob_id=info.id,
        endpoint=MESSAGES,
        passed=passed,
        requests=given.count,
        is_each_alone=True,
        hops=hops_of(request),
    )
    order = identified(BatchOrder(args=args, lifespan_seconds=LIFESPAN_SECONDS, kind=MESSAGE_BATCH), identity)
    added = await admit_batch(order, api, caller)
    job = await load_batch(message_batch_id(added.id), api, caller)
    return await _response(job, request, headers={} if added.is_new else REPLAYED)


async def listed(request: Request) -> Response:
    """GET /v1/messages/batches: newest first, from either end of a page on."""
    api, caller = api_of(request), caller_of(request)
    params = request.query_params
    limit = read_limit(params.get("limit"), default=DEFAULT_LISTED, highest=MOST_LISTED)
    after, before = _cursor(params.get("after_id"), "after_id"), _cursor(params.get("before_id"), "before_id")
    if after and before:
        raise RequestError("Give after_id or before_id, not both", param="before_id")
    query = JobQuery(
        tenant=caller.tenant,
        kinds=frozenset({MESSAGE_BATCH}),
        after=before or after,
        is_ascending=before is not None,
        parts=ANSWER,
    )
    found = await _found(query, limit + 1, api)
    shown = await views_of(found[:limit], request, api)
    if before is not None:
        shown.reverse()
    return page_response(MessageBatchList, shown, has_more=len(found) > limit)


async def read(request: Request) -> Response:
    """GET /v1/messages/batches/{id}."""
    return await _response(await _asked(request), request)


async def cancel(request: Request) -> Response:
    """POST /v1/messages/batches/{id}/cancel: what was paid for is in the results; a second cancel changes nothing."""
    job = await _asked(request)
    if not job.is_terminal:
        await ask_to_cancel(job, api_of(request))
        job = await _asked(request)
    if job.is_terminal and job.status is not Status.CANCELLED:
        raise Conflict(f"Message batch {message_batch_id(job.id)!r} has ended; it can't be canceled any more")
    return await _response(job, request)


async def delete(request: Request) -> Response:
    """DELETE /v1/messages/batches/{id}: requests and results go, the ledger of what was paid stays."""
    api, job = api_of(request), await _asked(request)
    named = message_batch_id(job.id)
    if not job.is_terminal:
        message = f"Message batch {named!r} is {status_of(job)}; cancel it first, or wait until it has ended"
        raise Conflict(message)
    record = StoredRecord(
        kind=DELETED,
        id=job.id,
        tenant=job.tenant,
        created_at=api.services.clock.now(),
        expires_at=api.services.clock.now() + 2 * api.services.bounds.result_ttl_seconds,
    )
    with suppress(VersionConflict):  # another request deletes it as well
        await api.services.records.put(record)
    await erase_job(job.tenant, job.id, api.services)
    return Response(msgspec.json.encode(MessageBatchDeleted(id=named)), media_type=JSON)


async def results(request: Request) -> Response:
    """GET /v1/messages/batches/{id}/results: in any order; while it runs, those that are there."""
    api, job = api_of(request), await _asked(request)
    segments: list[Segment] = []
    for stream in (OUTPUT, ERRORS):
        segments += await api.services.jobs.segments(job.id, stream)
    content = Content(segments=tuple(segments), is_growing=not job.is_terminal)
    return StreamingResponse(
        result_lines(content, api.services.blobs), media_type=JSONL, headers=progress_headers(content)
    )


async def load_batch(named: str, api: Api, caller: Caller) -> Job:
    """Reads a batch by its id. Raises: NotFound."""
    job = await api.reader.get(caller.tenant, message_batch_job_id(named), ANSWER)
    if job is None or job.kind != MESSAGE_BATCH or await _is_deleted(job, api):
        raise NotFound(f"There is no message batch {named!r}", param="id")
    return job


async def _asked(request: Request) -> Job:
    return await load_batch(request.path_params["id"], api_of(request), caller_of(request))


async def _found(query: JobQuery, most: int, api: Api) -> list[Job]:
    """So many batches that were not deleted."""
    found: list[Job] = []
    query = replace(query, limit=most)
    while len(found) < most and (jobs := await api.services.jobs.find(query)):
        found += [job for job in jobs if not await _is_deleted(job, api)]
        query = replace(query, after=jobs[-1].id)
    return found[:most]


async def _is_deleted(job: Job, api: Api) -> bool:
    """Of those without a result: a batch that was erased as a job is still to be seen, without its results."""
    if not job.is_terminal or job.result is not None:
        return False
    return await api.services.records.get(job.tenant, DELETED, job.id) is not None


def _cursor(named: str | None, param: str) -> str | None:
    if named is None:
        return None
    if not (job_id := message_batch_job_id(named)):
        raise RequestError(f"{param}: {named!r} is no id of a message batch", param=param)
    return job_id


async def _response(job: Job, request: Request, *, headers: dict[str, str] | None = None) -> Response:
    [view] = await views_of([job], request, api_of(request))
    return Response(msgspec.json.encode(view), media_type=JSON, headers=headers)


ROUTES = [
    Route("/v1/messages/batches", create, methods=["POST"]),
    Route("/v1/messages/batches", listed, methods=["GET"]),
    Route("/v1/messages/batches/{id}", read, methods=["GET"]),
    Route("/v1/messages/batches/{id}", delete, methods=["DELETE"]),
    Route("/v1/messages/batches/{id}/cancel", cancel, methods=["POST"]),
    Route("/v1/messages/batches/{id}/results", results, methods=["GET"]),
]

"""OpenAI's ``/v1/batches``, and ``/results`` and ``/retry`` of ours."""

from collections.abc import AsyncIterator

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from forebay.api.batches.admission import admit_batch, ask_to_cancel, known_batch
from forebay.api.batches.requests import order_of, parse_batch
from forebay.api.batches.views import WITH_RESULT, BatchView, status_of, views_of
from forebay.api.bodies import read_body
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.files.content import Content, from_byte, progress_headers
from forebay.api.hops import hops_of
from forebay.api.idempotency import REPLAYED, identify
from forebay.api.jobs.listing import read_limit
from forebay.api.paging import Page, page_response, read_cursor
from forebay.api.passing import passed_of
from forebay.domain.batch import BATCH, ERRORS, OUTPUT, args_of, batch_id, job_id_of
from forebay.domain.content import Segment
from forebay.domain.errors import Conflict, NotFound
from forebay.domain.job import Job, Status
from forebay.domain.query import JobQuery
from forebay.engine.handlers.batch import BatchOrder, retry_input
from forebay.ports import BlobStore

MOST_LISTED = 100  # Source: OpenAI's API reference
JSONL = "application/jsonl"


class BatchList(Page[BatchView], kw_only=True):
    """A page of batches, newest first."""


async def create(request: Request) -> Response:
    """POST /v1/batches: durable, and found by a GET, when this answers."""
    api, caller = api_of(request), caller_of(request)
    body = await read_body(request, api.system.settings.max_body_bytes)
    parsed = parse_batch(body)
    passed = passed_of(request)
    identity = identify(request, body, body_key=parsed.idempotency_key, passed=passed)
    if known := await known_batch(identity, api, caller):
        return await _response(await load_batch(batch_id(known), api, caller), api, headers=REPLAYED)
    order = await order_of(parsed, identity, api, caller, hops=hops_of(request))
    return await _admit(replace(order, args=replace(order.args, passed=passed)), api, caller)


async def listed(request: Request) -> Response:
    """GET /v1/batches."""
    api, caller = api_of(request), caller_of(request)
    params = request.query_params
    limit = read_limit(params.get("limit"), highest=MOST_LISTED)
    after = read_cursor(params.get("after") or None, "batch_")
    query = JobQuery(
        tenant=caller.tenant,
        kinds=frozenset({BATCH}),
        after=job_id_of(after) if after else None,
        limit=limit + 1,
        parts=WITH_RESULT,
    )
    jobs = await api.services.jobs.find(query)
    return page_response(BatchList, await views_of(jobs[:limit], api), has_more=len(jobs) > limit)


async def read(request: Request) -> Response:
    """GET /v1/batches/{id}."""
    api, caller = api_of(request), caller_of(request)
    return await _response(await load_batch(request.path_params["id"], api, caller), api)


async def cancel(request: Request) -> Response:
    """POST /v1/batches/{id}/cancel: what was paid for is published; a cancelled batch is answered as it is."""
    api, caller = api_of(request), caller_of(request)
    job = await load_batch(request.path_params["id"], api, caller)
    if job.is_terminal:
        if job.status is not Status.CANCELLED:
            raise Conflict(f"Cannot cancel a batch with status {status_of(job)!r}.", code="invalid_request_error")
        return await _response(job, api)
    await ask_to_cancel(job, api)
    job = await load_batch(batch_id(job.id), api, caller)
    if job.is_terminal and job.status is not Status.CANCELLED:  # it ended in this moment
        raise Conflict(f"Cannot cancel a batch with status {status_of(job)!r}.", code="invalid_request_error")
    return await _response(job, api)


async def results(request: Request) -> Response:
    """GET /v1/batches/{id}/results: the lines that are done, then those that failed; also while it runs."""
    api, caller = api_of(request), caller_of(request)
    job = await load_batch(request.path_params["id"], api, caller)
    segments: list[Segment] = []
    for stream in (OUTPUT, ERRORS):
        segments += await api.services.jobs.segments(job.id, stream)
    content = Content(segments=tuple(segments), is_growing=not job.is_terminal)
    return StreamingResponse(
        _streamed(content, api.services.blobs), media_type=JSONL, headers=progress_headers(content)
    )


async def retry(request: Request) -> Response:
    """POST /v1/batches/{id}/retry: a new batch of the failed, expired and cancelled lines."""
    api, caller = api_of(request), caller_of(request)
    body = await read_body(request, api.system.settings.max_body_bytes)
    identity = identify(request, body)
    if known := await known_batch(identity, api, caller):
        return await _response(await load_batch(batch_id(known), api, caller), api, headers=REPLAYED)
    job = await load_batch(request.path_params["id"], api, caller)
    if not job.is_terminal:
        raise Conflict(f"Batch {batch_id(job.id)!r} is {status_of(job)!r}; it can be retried when it has ended")
    file_id, blob_id = await retry_input(job, api.services)
    args = replace(args_of(job.spec.args), input_file_id=file_id, input_blob_id=blob_id, retry_of=batch_id(job.id))
    order = BatchOrder(
        args=args,
        lifespan_seconds=job.lifespan_seconds,
        priority=job.priority,
        budget_usd=job.spec.budget_usd,
        metadata={**job.spec.metadata, "retry_of": batch_id(job.id)},
        key=identity.key,
        fingerprint=identity.fingerprint,
        origin=identity.origin,
        on_end=job.on_end,
    )
    return await _admit(order, api, caller)


async def load_batch(named: str, api: Api, caller: Caller) -> Job:
    """Reads a batch by its id. Raises: NotFound."""
    job = await api.reader.get(caller.tenant, job_id_of(named), WITH_RESULT)
    if job is None or job.kind != BATCH:
        raise NotFound(f"No batch found with id {named!r}.", param="id")
    return job


async def _admit(order: BatchOrder, api: Api, caller: Caller) -> Response:
    """Adds the batch, or finds the one that an equal request made at the same moment. Raises: Conflict."""
    added = await admit_batch(order, api, caller)
    headers = {} if added.is_new else REPLAYED
    return await _response(await load_batch(batch_id(added.id), api, caller), api, headers=headers)


async def _streamed(content: Content, blobs: BlobStore) -> AsyncIterator[bytes]:
    async for piece in from_byte(content.segments, 0, content.bytes, blobs):
        yield piece


async def _response(job: Job, api: Api, *, headers: dict[str, str] | None = None) -> Response:
    [view] = await views_of([job], api)
    return Response(msgspec.json.encode(view), media_type=JSON, headers=headers)


ROUTES = [
    Route("/v1/batches", create, methods=["POST"]),
    Route("/v1/batches", listed, methods=["GET"]),
    Route("/v1/batches/{id}", read, methods=["GET"]),
    Route("/v1/batches/{id}/cancel", cancel, methods=["POST"]),
    Route("/v1/batches/{id}/results", results, methods=["GET"]),
    Route("/v1/batches/{id}/retry", retry, methods=["POST"]),
]

"""``/v1/jobs``: submit, read, wait, list, cancel, retry, erase."""

import math
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.admission import admit, load, no_job
from forebay.api.bodies import read_body, unknown_name
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.idempotency import REPLAYED, identify
from forebay.api.jobs import events as job_events
from forebay.api.jobs.bulk import submit_bulk
from forebay.api.jobs.listing import jobs_query, page
from forebay.api.jobs.requests import order_of, parse_request
from forebay.api.views import view_of
from forebay.api.waits import until_ended
from forebay.domain.batch import BATCH, MESSAGE_BATCH, batch_id
from forebay.domain.change import Lookup, Reply
from forebay.domain.errors import Conflict, RequestError
from forebay.domain.hops import HOPS_HEADER, read_hops
from forebay.domain.job import DEAD, Job
from forebay.domain.pipeline import INFERENCE, PIPELINE, STEP
from forebay.domain.query import Parts
from forebay.domain.webhook import NOTIFY, SUBSCRIBE
from forebay.engine.erasure import erase as erase_job

LONGEST_WAIT_SECONDS = 60.0
OWN_KINDS = frozenset({NOTIFY, SUBSCRIBE, PIPELINE, STEP, INFERENCE})  # have no body of a client's
RETRYABLE = Parts(body=True)  # what a job is read with to be retried


async def submit(request: Request) -> Response:
    """POST /v1/jobs: 202 only after the job is durable."""
    api, caller = api_of(request), caller_of(request)
    data = await read_body(request, api.system.settings.max_body_bytes)
    parsed = parse_request(data)
    identity = identify(request, data, body_key=parsed.idempotency_key)
    hops = read_hops(request.headers.get(HOPS_HEADER))
    order = order_of(parsed, identity, api.services.clock.now(), hops=hops)
    admitted = await admit(order, identity, api, caller)
    job = admitted.job or await load(admitted.id, api, caller)
    headers = {"location": f"/v1/jobs/{admitted.id}"}
    if admitted.is_replay:
        headers |= REPLAYED
    return await view_response(job, api, status_code=202, headers=headers)


async def listed(request: Request) -> Response:
    """GET /v1/jobs: newest first."""
    api = api_of(request)
    query = jobs_query(request.query_params, caller_of(request), api.services.clock.now())
    return Response(await page(query, api), media_type=JSON)


async def read(request: Request) -> Response:
    """GET /v1/jobs/{id}, held for ``?wait=`` seconds until the job has ended."""
    api, caller = api_of(request), caller_of(request)
    job_id = request.path_params["id"]
    seconds = _wait_seconds(request)
    if seconds:
        job = await until_ended(job_id, seconds, api, caller.tenant, request=request)
    else:
        job = await load(job_id, api, caller)
    return await view_response(job, api)


async def cancel(request: Request) -> Response:
    """POST /v1/jobs/{id}/cancel: idempotent; an ended job stays as it is."""
    api, caller = api_of(request), caller_of(request)
    [reply] = await api.services.jobs.cancel(caller.tenant, [request.path_params["id"]])
    return await _after(reply, api, caller)


async def retry(request: Request) -> Response:
    """POST /v1/jobs/{id}/retry: a dead job is queued again with fresh attempts."""
    api, caller = api_of(request), caller_of(request)
    [outcome] = await retry_each([request.path_params["id"]], api, caller)
    if isinstance(outcome, RequestError):
        raise outcome
    return await _after(outcome, api, caller)


async def erase(request: Request) -> Response:
    """DELETE /v1/jobs/{id}: erases bodies and results of an ended job; its ledger stays."""
    api, caller = api_of(request), caller_of(request)
    job_id = request.path_params["id"]
    reply = await erase_job(caller.tenant, job_id, api.services)
    if reply.lookup is Lookup.NOT_FOUND:
        raise no_job(job_id)
    if reply.lookup is not Lookup.DONE:
        raise Conflict(f"Job {job_id!r} is {reply.status}; cancel it first, or wait until it has ended")
    return Response(msgspec.json.encode({"id": job_id, "object": "job", "deleted": True}), media_type=JSON)


async def view_response(
    job: Job, api: Api, *, status_code: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """The job's view as a reply."""
    view = await view_of(job, api.services.blobs)
    return Response(msgspec.json.encode(view), status_code=status_code, headers=headers, media_type=JSON)


async def retry_each(job_ids: Sequence[str], api: Api, caller: Caller) -> list[Reply | RequestError]:
    """Queues dead jobs again, or says of each why not."""
    jobs = await api.services.jobs.get(caller.tenant, job_ids, RETRYABLE)
    kept = {job.id: refusal for job in jobs if job is not None and (refusal := _kept(job))}
    replies = iter(await api.services.jobs.retry(caller.tenant, [one for one in job_ids if one not in kept]))
    outcomes: list[Reply | RequestError] = []
    for job_id in job_ids:
        if job_id in kept:
            outcomes.append(kept[job_id])
        else:
            reply = next(replies)
            outcomes.append(_retry_refusal(reply) or reply)
    return outcomes


def _kept(job: Job) -> RequestError | None:
    """Why a job stays as it is although the store would queue it again."""
    if job.kind == BATCH:
        path = f"POST /v1/batches/{batch_id(job.id)}/retry"
        message = f"Job {job.id!r} is a batch, which never changes once it has ended; {path} makes a new one"
        return Conflict(message, code="is_batch")
    if job.kind == MESSAGE_BATCH:
        message = f"Job {job.id!r} is a message batch, which never changes once it has ended; make a new one"
        return Conflict(message, code="is_batch")
    is_erased = job.spec.args is None if job.kind in OWN_KINDS else job.body is None
    if job.status in DEAD and is_erased:
        return Conflict(f"The request of job {job.id!r} was erased: nothing is left to send again", code="erased")
    return None


def _retry_refusal(reply: Reply) -> RequestError | None:
    """Why the store did not queue a job again."""
    match reply.lookup:
        case Lookup.DONE:
            return None
        case Lookup.NOT_FOUND:
            return no_job(reply.id)
        case Lookup.PARENT_ENDED:
            message = f"Job {reply.id!r} belongs to a group that has ended; retry the group"
            return Conflict(message, code="parent_ended")
        case _:
            return Conflict(f"Job {reply.id!r} is {reply.status}; only failed and cancelled jobs can be retried")


async def _after(reply: Reply, api: Api, caller: Caller) -> Response:
    if reply.lookup is Lookup.NOT_FOUND:
        raise no_job(reply.id)
    return await view_response(await load(reply.id, api, caller), api)


def _wait_seconds(request: Request) -> float:
    for name in request.query_params:
        if name != "wait":
            raise unknown_name(name, ["wait"], "query parameter")
    text = request.query_params.get("wait")
    if text is None:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT_SECONDS:
        raise RequestError(f"wait: it must be 0 to {LONGEST_WAIT_SECONDS:g} seconds, not {text!r}", param="wait")
    return seconds


ROUTES = [
    Route("/v1/jobs", submit, methods=["POST"]),
    Route("/v1/jobs", listed, methods=["GET"]),
    Route("/v1/jobs/bulk", submit_bulk, methods=["POST"]),
    Route("/v1/jobs/{id}", read, methods=["GET"]),
    Route("/v1/jobs/{id}", erase, methods=["DELETE"]),
    Route("/v1/jobs/{id}/cancel", cancel, methods=["POST"]),
    Route("/v1/jobs/{id}/retry", retry, methods=["POST"]),
    Route("/v1/jobs/{id}/events", job_events.events, methods=["GET"]),
]

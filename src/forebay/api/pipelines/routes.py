"""Pipelines as they are configured, and their runs: begin, read, list, cancel, resume, fetch a step's table."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from forebay.api.bodies import decode, read_body
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.idempotency import identify
from forebay.api.jobs.listing import read_limit, read_statuses, read_when, split
from forebay.api.paging import page_response, read_cursor
from forebay.api.pipelines.admission import begun
from forebay.api.pipelines.views import PipelineList, RunList, pipeline_view
from forebay.domain.errors import Conflict, NotFound, RequestError
from forebay.domain.hops import HOPS_HEADER, read_hops
from forebay.domain.job import Job
from forebay.domain.pipeline import PIPELINE, TABLE, RunTrigger, StepOutput, TriggerType, run_cursor, run_id, run_job_id
from forebay.domain.query import JobQuery
from forebay.engine.run_views import run_view
from forebay.engine.runs import PIPELINE_MARK, RunOrder, pipeline_named, resume_run, run_named

FILTERS = ("pipeline", "status", "created_after", "created_before", "limit", "after")
PARQUET = "application/vnd.apache.parquet"  # Source: IANA media types
REJECTED = "rejected"


class RunRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"from_step": "from"}):
    """A run by hand. ``from``: the step to make anew, with all after it; ``since``: the run to take over from."""

    params: dict[str, Any] = {}
    from_step: str | None = None
    since: str | None = None
    fresh: bool = False
    budget_usd: float | None = None
    idempotency_key: str | None = None


class ResumeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How a run goes on: with a larger budget, where that ended it."""

    budget_usd: float | None = None
    budget_tokens: int | None = None


_RUN = msgspec.json.Decoder(RunRequest)
_RESUME = msgspec.json.Decoder(ResumeRequest)
_RUN_FIELDS = ("params", "from", "since", "fresh", "budget_usd", "idempotency_key")
_RESUME_FIELDS = ("budget_usd", "budget_tokens")


async def pipelines(request: Request) -> Response:
    """GET /v1/pipelines."""
    configured = api_of(request).services.pipelines
    page = PipelineList(data=[pipeline_view(configured[name]) for name in sorted(configured)])
    return Response(msgspec.json.encode(page), media_type=JSON)


async def begin(request: Request) -> Response:
    """POST /v1/pipelines/{name}/runs: 202 when the run is durable."""
    api, caller = api_of(request), caller_of(request)
    pipeline = pipeline_named(request.path_params["name"], api.services)
    data = await read_body(request, api.system.settings.max_body_bytes)
    asked = decode(_RUN, data or b"{}", known=_RUN_FIELDS)
    identity = identify(request, data or b"{}", body_key=asked.idempotency_key)
    if asked.budget_usd is not None and asked.budget_usd < 0:
        raise RequestError("budget_usd: it must not be negative", param="budget_usd")
    order = RunOrder(
        params=asked.params,
        trigger=RunTrigger(type=TriggerType.MANUAL),
        key=identity.key,
        fingerprint=identity.fingerprint,
        from_step=asked.from_step,
        since=asked.since,
        is_fresh=asked.fresh,
        budget_usd=asked.budget_usd,
        hops=read_hops(request.headers.get(HOPS_HEADER)),
    )
    return await begun(pipeline, order, api, caller)


async def runs(request: Request) -> Response:
    """GET /v1/runs: newest first."""
    api, caller = api_of(request), caller_of(request)
    values, _ = split(request.query_params, FILTERS)
    limit, now = read_limit(values.get("limit")), api.services.clock.now()
    after = read_cursor(values.get("after"), "run_")
    query = JobQuery(
        tenant=caller.tenant,
        parent_id=None,
        kinds=frozenset({PIPELINE}),
        statuses=read_statuses(values),
        created_after=read_when(values, "created_after", now),
        created_before=read_when(values, "created_before", now),
        metadata={PIPELINE_MARK: values["pipeline"]} if "pipeline" in values else {},
        after=run_job_id(after) if after else None,
        limit=limit + 1,
    )
    found = await api.services.jobs.find(query)
    shown = [await run_view(job, api.services) for job in found[:limit]]
    return page_response(RunList, shown, has_more=len(found) > limit)


async def read(request: Request) -> Response:
    """GET /v1/runs/{id}."""
    api, caller = api_of(request), caller_of(request)
    return await _response(await _load(request.path_params["id"], api, caller), api)


async def cancel(request: Request) -> Response:
    """POST /v1/runs/{id}/cancel: what its steps have made is kept; an ended run stays as it is."""
    api, caller = api_of(request), caller_of(request)
    job = await _load(request.path_params["id"], api, caller)
    await api.services.jobs.cancel(caller.tenant, [job.id])
    return await _response(await _load(run_id(job.id), api, caller), api)


async def resume(request: Request) -> Response:
    """POST /v1/runs/{id}/resume: a run that failed or was cancelled goes on at the step, and the record, where it
    stopped; one that is live goes on as it is.
    """
    api, caller = api_of(request), caller_of(request)
    asked = decode(_RESUME, await read_body(request, api.system.settings.max_body_bytes) or b"{}", known=_RESUME_FIELDS)
    job = await _load(request.path_params["id"], api, caller)
    await resume_run(job, api.services, budget_usd=asked.budget_usd, budget_tokens=asked.budget_tokens)
    return await _response(await _load(run_id(job.id), api, caller), api)


async def table(request: Request) -> Response:
    """GET /v1/runs/{id}/steps/{step}/{stream}: a step's ``table``, or its ``rejected`` records, as Parquet."""
    api, caller = api_of(request), caller_of(request)
    job = await _load(request.path_params["id"], api, caller)
    step, stream = request.path_params["step"], request.path_params["stream"]
    state = run_cursor(job.progress).steps.get(step)
    output = state.outcome.output if state is not None and state.outcome is not None else StepOutput()
    found = {TABLE: output.table, REJECTED: output.rejected}.get(stream)
    if found is None:
        raise NotFound(f"Step {step!r} of run {run_id(job.id)!r} has no {stream}")
    try:
        await api.services.blobs.size(found.blob_id)
    except NotFound as gone:
        raise Conflict(f"The {stream} of step {step!r} was erased", code="erased") from gone
    headers = {"content-length": str(found.bytes)}
    return StreamingResponse(api.services.blobs.read(found.blob_id), media_type=PARQUET, headers=headers)


async def _load(named: str, api: Api, caller: Caller) -> Job:
    """Raises: NotFound: there is no such run of the caller's tenant."""
    return await run_named(named, api.services, tenant=caller.tenant)


async def _response(job: Job, api: Api) -> Response:
    return Response(msgspec.json.encode(await run_view(job, api.services)), media_type=JSON)


ROUTES = [
    Route("/v1/pipelines", pipelines, methods=["GET"]),
    Route("/v1/pipelines/{name}/runs", begin, methods=["POST"]),
    Route("/v1/runs", runs, methods=["GET"]),
    Route("/v1/runs/{id}", read, methods=["GET"]),
    Route("/v1/runs/{id}/cancel", cancel, methods=["POST"]),
    Route("/v1/runs/{id}/resume", resume, methods=["POST"]),
    Route("/v1/runs/{id}/steps/{step}/{stream}", table, methods=["GET"]),
]

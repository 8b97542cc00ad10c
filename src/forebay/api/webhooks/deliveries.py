"""``/v1/webhook_deliveries``: what was sent where, and sending it again."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.jobs.listing import read_limit, read_statuses, read_when, split
from forebay.api.paging import page_response, read_cursor
from forebay.api.webhooks.views import DeliveryList, DeliveryView, delivery_view
from forebay.domain.change import Lookup
from forebay.domain.errors import Conflict, NotFound
from forebay.domain.job import DEAD, Job, Spec, Status
from forebay.domain.query import JobQuery, Parts
from forebay.domain.webhook import LIFESPAN_SECONDS, NOTIFY, Subject, encoded, notify_args
from forebay.engine.handlers.notify import type_of
from forebay.policy.events import event_id

FILTERS = ("status", "endpoint_id", "job_id", "created_after", "created_before", "limit", "after")
MOST_LISTED = 100
SOON_SECONDS = 1.0  # a delivery that is due by then may have been claimed, and needs no haste
WITH_TRIES = Parts(attempts=True)


async def listed(request: Request) -> Response:
    """GET /v1/webhook_deliveries: newest first."""
    api, caller = api_of(request), caller_of(request)
    values, _ = split(request.query_params, FILTERS)
    now = api.services.clock.now()
    limit = read_limit(values.get("limit"), highest=MOST_LISTED)
    named: dict[str, str] = {name: values[name] for name in ("endpoint_id", "job_id") if name in values}
    query = JobQuery(
        tenant=caller.tenant,
        kinds=frozenset({NOTIFY}),
        statuses=read_statuses(values),
        created_after=read_when(values, "created_after", now),
        created_before=read_when(values, "created_before", now),
        metadata=named,
        after=read_cursor(values.get("after"), "job_"),
        limit=limit + 1,
        parts=WITH_TRIES,
    )
    jobs = await api.services.jobs.find(query)
    return page_response(DeliveryList, await _views(jobs[:limit], api), has_more=len(jobs) > limit)


async def retry(request: Request) -> Response:
    """POST /v1/webhook_deliveries/{id}/retry: one that is dead, or waits for its next try, is sent now; one that was
    taken is sent once more, the same event.

    The event keeps its id: a receiver that knows it already knows what this is.
    """
    api, caller = api_of(request), caller_of(request)
    job = await _load(request.path_params["id"], api, caller)
    if job.status is Status.QUEUED and job.due_at > api.services.clock.now() + SOON_SECONDS:
        await api.services.jobs.cancel(caller.tenant, [job.id])
        job = await _load(job.id, api, caller)
    if job.status in DEAD:
        [reply] = await api.services.jobs.retry(caller.tenant, [job.id])
        if reply.lookup is Lookup.DONE:
            return await _accepted(job.id, api, caller)
        job = await _load(job.id, api, caller)
    if job.status is not Status.SUCCEEDED:
        raise Conflict(f"Delivery {job.id!r} is {job.status}: it is on its way already")
    again = _again(job, api)
    await api.services.jobs.add([again])
    return await _accepted(again.id, api, caller)


def _again(job: Job, api: Api) -> Job:
    """A delivery of the same event to the same place."""
    services, args = api.services, notify_args(job.spec.args)
    now = services.clock.now()
    happened_at = job.created_at if args.happened_at is None else args.happened_at
    known = args.event_id or event_id(args.job_id, happened_at)
    resent = replace(args, event_id=known, happened_at=happened_at, resend_of=args.resend_of or job.id)
    return Job(
        id=services.ids.new("job"),
        kind=NOTIFY,
        queue=job.queue,
        tenant=job.tenant,
        created_at=now,
        due_at=now,
        deadline=now + LIFESPAN_SECONDS,
        spec=Spec(args=encoded(resent), metadata=job.spec.metadata),
    )


async def _load(job_id: str, api: Api, caller: Caller) -> Job:
    [job] = await api.services.jobs.get(caller.tenant, [job_id], WITH_TRIES)
    if job is None or job.kind != NOTIFY:
        raise NotFound(f"There is no webhook delivery {job_id!r}", param="id")
    return job


async def _accepted(job_id: str, api: Api, caller: Caller) -> Response:
    [view] = await _views([await _load(job_id, api, caller)], api)
    return Response(msgspec.json.encode(view), status_code=202, media_type=JSON)


async def _views(jobs: Sequence[Job], api: Api) -> list[DeliveryView]:
    """The views; the types of their events are read off the jobs that they tell of."""
    told = [notify_args(job.spec.args) for job in jobs]
    services = api.services
    plain = list({args.job_id for args in told if args.subject is not Subject.RESPONSE})
    answered = list({args.job_id for args in told if args.subject is Subject.RESPONSE})
    tenant = jobs[0].tenant if jobs else ""
    owners = {
        owner.id: owner
        for found in (
            await services.jobs.get(tenant, plain) if plain else [],
            await services.jobs.get(tenant, answered, Parts(result=True)) if answered else [],
        )
        for owner in found
        if owner is not None
    }
    return [
        delivery_view(job, await type_of(args, owners.get(args.job_id), services))
        for job, args in zip(jobs, told, strict=True)
    ]


ROUTES = [
    Route("/v1/webhook_deliveries", listed, methods=["GET"]),
    Route("/v1/webhook_deliveries/{id}/retry", retry, methods=["POST"]),
]

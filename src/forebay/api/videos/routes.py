"""``/v1/videos``: a create is answered at once with the video as it stands, queued; the rest is asked for later."""

from contextlib import suppress

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.admission import Admitted, admit
from forebay.api.answers import JOB_ID
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.files.content import content_of, content_response
from forebay.api.files.form_calls import CallBody, read_call
from forebay.api.files.routes import load_file
from forebay.api.idempotency import REPLAYED, Identity, identify
from forebay.api.jobs.listing import read_limit
from forebay.api.jobs.requests import parse_head
from forebay.api.paging import Page, page_response, read_cursor
from forebay.api.passing import passed_of
from forebay.api.videos.views import PARTS, Found, VideoView, find_video, found_of, is_video, no_video, view_of
from forebay.api.waits import until_ended
from forebay.domain.change import Lookup
from forebay.domain.errors import Conflict, NotFound, NotSupported, RequestError, VersionConflict
from forebay.domain.file import file_data
from forebay.domain.hops import HOPS_HEADER, read_hops
from forebay.domain.infer_args import InferArgs, with_args
from forebay.domain.order import Order
from forebay.domain.passed import Passed
from forebay.domain.stored import StoredRecord
from forebay.domain.video import ENDPOINT, VIDEO, VideoStatus, job_id_of, video_id
from forebay.engine.erasure import erase

HIGHEST_LIMIT, DEFAULT_LIMIT = 100, 20
STOP_SECONDS = 30.0
NOT_READY = "video_not_ready"


class VideoList(Page[VideoView], kw_only=True):
    """A page of videos."""


class VideoDeleted(msgspec.Struct, kw_only=True):
    """The reply to a deleted video."""

    id: str
    object: str = "video.deleted"
    deleted: bool = True


async def create(request: Request) -> Response:
    """POST /v1/videos: the video, queued; durable when this answers."""
    api, caller = api_of(request), caller_of(request)
    passed = passed_of(request)
    given = await read_call(request, api, caller)
    identity = identify(request, given.known_by, passed=passed)
    async with given.kept(api, caller) as keeping:
        admitted = await admit(_order(given, identity, passed, request), identity, api, caller)
        keeping.is_wanted = not admitted.is_replay
    found = await _listed_too(admitted, api, caller)
    headers = {JOB_ID: admitted.id} | (REPLAYED if admitted.is_replay else {})
    return Response(_shown(found, api), media_type=JSON, headers=headers)


async def retrieve(request: Request) -> Response:
    """GET /v1/videos/{id}."""
    api = api_of(request)
    found = await find_video(request.path_params["id"], api, caller_of(request))
    return Response(_shown(found, api), media_type=JSON, headers={JOB_ID: found.job.id})


async def content(request: Request) -> Response:
    """GET /v1/videos/{id}/content: the film, whole or a range of its bytes."""
    api, caller = api_of(request), caller_of(request)
    if (variant := request.query_params.get("variant", VIDEO)) != VIDEO:
        raise NotSupported(f"variant: only the video itself is kept, no {variant[:50]!r}", param="variant")
    found = await find_video(request.path_params["id"], api, caller)
    status = view_of(found, 0).status
    if status is not VideoStatus.COMPLETED:
        message = f"Video is not ready yet: it is {status}; use GET /v1/videos/{{video_id}} to check its status"
        raise RequestError(message, param="id", code=NOT_READY)
    if found.file is None:
        raise NotFound("The target answered with no file; its answer is the job's result", param="id")
    data = file_data(await load_file(found.file.file_id, api, caller))
    return await content_response(request, data, await content_of(data, api, caller.tenant), api.services.blobs)


async def listed(request: Request) -> Response:
    """GET /v1/videos."""
    api, caller, params = api_of(request), caller_of(request), request.query_params
    limit = read_limit(params.get("limit"), default=DEFAULT_LIMIT, highest=HIGHEST_LIMIT)
    order = params.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise RequestError(f"order: it must be asc or desc, not {order!r}", param="order")
    after = read_cursor(params.get("after"), "video_")
    found: list[Found] = []
    while len(found) <= limit:
        videos, after = await _some(api, caller, after, limit + 1 - len(found), is_ascending=order == "asc")
        found += videos
        if after is None:
            break
    kept_seconds = api.services.bounds.result_ttl_seconds
    shown = [view_of(one, kept_seconds) for one in found[:limit]]
    return page_response(VideoList, shown, has_more=len(found) > limit)


async def _some(
    api: Api, caller: Caller, after: str | None, most: int, *, is_ascending: bool
) -> tuple[list[Found], str | None]:
    """The next videos of the list, without those that are gone, and from where it goes on; None: there is no more."""
    records = await api.services.records.list(caller.tenant, VIDEO, after=after, limit=most, is_ascending=is_ascending)
    if not records:
        return [], None
    jobs = await api.services.jobs.get(caller.tenant, [job_id_of(record.id) for record in records], PARTS)
    videos = [await found_of(job, api) for job in jobs if job is not None and is_video(job)]
    return videos, records[-1].id if len(records) == most else None


async def delete(request: Request) -> Response:
    """DELETE /v1/videos/{id}: the film and what was asked go; one that is being made is cancelled first."""
    api, caller = api_of(request), caller_of(request)
    named = request.path_params["id"]
    found = await find_video(named, api, caller)
    if not found.job.is_terminal:
        await api.services.jobs.cancel(caller.tenant, [found.job.id])
        await until_ended(found.job.id, STOP_SECONDS, api, caller.tenant, request=request)
    reply = await erase(caller.tenant, found.job.id, api.services)
    if reply.lookup is Lookup.NOT_FOUND:
        raise no_video(named)
    if reply.lookup is not Lookup.DONE:
        raise Conflict(f"Video {named!r} is being cancelled and has not ended yet; delete it again")
    await api.services.records.delete(caller.tenant, VIDEO, named)
    return Response(msgspec.json.encode(VideoDeleted(id=named)), media_type=JSON)


def _order(given: CallBody, identity: Identity, passed: Passed | None, request: Request) -> Order:
    head = parse_head(given.data, param=None)
    order = Order(
        body=given.data.decode(),
        model=head.model,
        endpoint=ENDPOINT,
        key=identity.key,
        fingerprint=identity.fingerprint,
        origin=identity.origin,
        hops=read_hops(request.headers.get(HOPS_HEADER)),
    )
    if passed is None and not given.is_form:
        return order
    return replace(order, args=with_args(order.args, InferArgs(passed=passed, is_form=given.is_form)))


async def _listed_too(admitted: Admitted, api: Api, caller: Caller) -> Found:
    """The video of a request just now made, or made before; with its place in the list."""
    job = admitted.job or await api.reader.get(caller.tenant, admitted.id, PARTS)
    if job is None:
        raise no_video(video_id(admitted.id))
    record = StoredRecord(
        kind=VIDEO,
        id=video_id(job.id),
        tenant=caller.tenant,
        created_at=job.created_at,
        expires_at=job.deadline + api.services.bounds.result_ttl_seconds,
    )
    with suppress(VersionConflict):  # a repeat of the request
        await api.services.records.put(record)
    return await found_of(job, api)


def _shown(found: Found, api: Api) -> bytes:
    return msgspec.json.encode(view_of(found, api.services.bounds.result_ttl_seconds))


ROUTES = [
    Route(ENDPOINT, create, methods=["POST"]),
    Route(ENDPOINT, listed, methods=["GET"]),
    Route(ENDPOINT + "/{id}", retrieve, methods=["GET"]),
    Route(ENDPOINT + "/{id}", delete, methods=["DELETE"]),
    Route(ENDPOINT + "/{id}/content", content, methods=["GET"]),
]

"""``/v1/responses``: create, retrieve, stream again, cancel, delete. Every response is a job with an id of its own."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.admission import Admitted
from forebay.api.answers import JOB_ID, answer_of
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.idempotency import REPLAYED
from forebay.api.inference import LONGEST_AWAIT_SECONDS, accepted, stopping
from forebay.api.reading import ANSWER
from forebay.api.responses import items as responses_items
from forebay.api.responses.create import Asked, admit_asked, read_asked
from forebay.api.responses.reading import PARTS, Found, answer_in, find_response, found_of, no_response
from forebay.api.responses.stream import stream_awaited, stream_response
from forebay.api.streams import KEEP_ALIVE_SECONDS
from forebay.api.waits import until_ended
from forebay.domain.change import Lookup
from forebay.domain.errors import Conflict, RequestError
from forebay.domain.job import Job, Status
from forebay.domain.response import ENDPOINT, is_background_response, job_id_of
from forebay.engine.erasure import erase as erase_job
from forebay.policy.responses_view import is_response

STOP_SECONDS = 30.0  # a call is broken off at its worker's next beat, within 2 s; a dead worker's, when it is missed
_SWITCH = {"true": True, "false": False}


async def create(request: Request) -> Response:
    """POST /v1/responses: the answer, its stream, or in the background the response as it stands."""
    api, caller = api_of(request), caller_of(request)
    asked = await read_asked(request, api)
    admitted = await admit_asked(asked, api, caller)
    headers = {JOB_ID: admitted.id} | (REPLAYED if admitted.is_replay else {})
    if asked.is_background:
        found = await _admitted(admitted, api, caller)
        return stream_response(found, request, api, headers) if asked.is_stream else _shown(found, headers)
    if asked.preference.is_async:
        headers["preference-applied"] = asked.preference.applied
        early = await _early(admitted, asked, request, headers) if asked.preference.wait_seconds else None
        return early or await accepted(admitted.id, api, caller, headers)
    if asked.is_stream:
        found = await _admitted(admitted, api, caller)
        begun = await stream_awaited(found, KEEP_ALIVE_SECONDS, request, api, headers)
        return begun or stream_response(found, request, api, headers)
    job = await until_ended(admitted.id, LONGEST_AWAIT_SECONDS, api, caller.tenant, parts=ANSWER, request=request)
    return await _answered(job, asked, request, headers) if job.is_terminal else stopping(job.id, request)


async def retrieve(request: Request) -> Response:
    """GET /v1/responses/{id}; ``?stream=true`` tells its events, from after ``starting_after`` on."""
    api, caller = api_of(request), caller_of(request)
    is_stream, after = _stream_of(request)
    found = await find_response(request.path_params["id"], api, caller)
    return stream_response(found, request, api, {}, after) if is_stream else _shown(found)


async def cancel(request: Request) -> Response:
    """POST /v1/responses/{id}/cancel: the response as it ended; an ended one stays as it is."""
    api, caller = api_of(request), caller_of(request)
    named = request.path_params["id"]
    found = await find_response(named, api, caller)
    if not is_background_response(found.job):
        raise RequestError("Cannot cancel a synchronous response: only background ones can be cancelled", param="id")
    if not found.job.is_terminal:
        await api.services.jobs.cancel(caller.tenant, [found.job.id])
        await until_ended(found.job.id, STOP_SECONDS, api, caller.tenant, request=request)
        found = await find_response(named, api, caller)
    return _shown(found)


async def delete(request: Request) -> Response:
    """DELETE /v1/responses/{id}: what it was asked and answered goes; one that runs is cancelled first."""
    api, caller = api_of(request), caller_of(request)
    named = request.path_params["id"]
    found = await find_response(named, api, caller)
    if not found.job.is_terminal:
        await api.services.jobs.cancel(caller.tenant, [found.job.id])
        await until_ended(found.job.id, STOP_SECONDS, api, caller.tenant, request=request)
    reply = await erase_job(caller.tenant, job_id_of(named), api.services)
    if reply.lookup is Lookup.NOT_FOUND:
        raise no_response(named)
    if reply.lookup is not Lookup.DONE:
        raise Conflict(f"Response {named!r} is being cancelled and has not ended yet; delete it again")
    return Response(msgspec.json.encode({"id": named, "object": "response", "deleted": True}), media_type=JSON)


async def _admitted(admitted: Admitted, api: Api, caller: Caller) -> Found:
    """The response of a request just now made, or made before."""
    job = admitted.job or await api.reader.get(caller.tenant, admitted.id, PARTS)
    if job is None:
        raise no_response(admitted.id)
    return await found_of(job, api)


async def _early(admitted: Admitted, asked: Asked, request: Request, headers: dict[str, str]) -> Response | None:
    """The answer if it comes, or its stream if it begins, within the preferred wait."""
    api, caller, seconds = api_of(request), caller_of(request), asked.preference.wait_seconds
    if asked.is_stream:
        return await stream_awaited(await _admitted(admitted, api, caller), seconds, request, api, headers)
    job = await until_ended(admitted.id, seconds, api, caller.tenant, parts=ANSWER, request=request)
    return await _answered(job, asked, request, headers) if job.is_terminal else None


async def _answered(job: Job, asked: Asked, request: Request, headers: dict[str, str]) -> Response:
    """The Response of an awaited job that has ended. What is none goes as it is."""
    api = api_of(request)
    if job.status is not Status.SUCCEEDED:
        return await answer_of(job, request, api, headers)
    found = Found(job=job, request=asked.request, answered=await answer_in(job, api))
    return _shown(found, headers) if is_response(found.answered) else await answer_of(job, request, api, headers)


def _shown(found: Found, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(found.view()), headers=headers, media_type=JSON)


def _stream_of(request: Request) -> tuple[bool, int]:
    """Reads ``stream`` and ``starting_after``. Raises: RequestError."""
    params = request.query_params
    is_stream = _SWITCH.get(params.get("stream", "false"))
    if is_stream is None:
        raise RequestError("stream: it must be `true` or `false`", param="stream")
    if params.get("include_obfuscation", "false") != "false":
        raise RequestError("include_obfuscation: events are not obfuscated here", param="include_obfuscation")
    after = params.get("starting_after")
    if after is None:
        return is_stream, -1
    if not (after.isascii() and after.isdigit() and len(after) < 16):
        raise RequestError("starting_after: it must be the number of an event", param="starting_after")
    if not is_stream:
        raise RequestError("starting_after: it is for `stream=true`", param="starting_after")
    return True, int(after)


ROUTES = [
    Route(ENDPOINT, create, methods=["POST"]),
    Route(ENDPOINT + "/{id}", retrieve, methods=["GET"]),
    Route(ENDPOINT + "/{id}", delete, methods=["DELETE"]),
    Route(ENDPOINT + "/{id}/cancel", cancel, methods=["POST"]),
    Route(ENDPOINT + "/{id}/input_items", responses_items.listed, methods=["GET"]),
]

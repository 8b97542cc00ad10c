"""``POST /v1/responses``: from the request's bytes to its one job."""

from typing import Any

import msgspec
from starlette.requests import Request

from forebay.api.admission import Admitted, admit, known_job
from forebay.api.bodies import decode, read_body
from forebay.api.context import Api, Caller
from forebay.api.hops import hops_of
from forebay.api.idempotency import Identity, identify
from forebay.api.inference import Preference
from forebay.api.jobs.requests import check_metadata, parse_head
from forebay.api.passing import passed_of
from forebay.api.responses.previous import continue_from
from forebay.domain.errors import NotSupported, RequestError
from forebay.domain.infer_args import InferArgs, with_args
from forebay.domain.order import Order
from forebay.domain.passed import Passed
from forebay.domain.record import Record
from forebay.domain.response import ENDPOINT, ResponseArgs, encode_args
from forebay.engine.handlers.erase import NOTICE
from forebay.policy.resolution import Candidate, Resolution
from forebay.policy.responses_request import chat_request

Json = dict[str, Any]

_REQUEST = msgspec.json.Decoder(dict[str, Any])
_SWITCHES = ("stream", "background", "store")


class Asked(Record, frozen=True, kw_only=True):
    """A request for a Response, read."""

    data: bytes
    request: Json
    identity: Identity
    preference: Preference
    passed: Passed | None
    hops: int = 0

    @property
    def is_background(self) -> bool:
        return self.request.get("background") is True

    @property
    def is_stream(self) -> bool:
        return self.request.get("stream") is True


async def read_asked(request: Request, api: Api) -> Asked:
    """Reads and bounds the request. Raises: RequestError."""
    data = await read_body(request, api.system.settings.max_body_bytes)
    passed = passed_of(request)
    identity = identify(request, data, passed=passed)
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise NotSupported("Responses take JSON, no forms", code="not_supported")
    parse_head(data, param=None)
    body = decode(_REQUEST, data)
    for name in _SWITCHES:
        if not isinstance(body.get(name), bool | None):
            raise RequestError(f"{name}: it must be true or false", param=name, code="invalid_type")
    metadata = body.get("metadata")
    if metadata is not None:
        check_metadata(_metadata(metadata))
    preference = Preference(request.headers.getlist("prefer"))
    hops = hops_of(request)
    return Asked(data=data, request=body, identity=identity, preference=preference, passed=passed, hops=hops)


async def admit_asked(asked: Asked, api: Api, caller: Caller) -> Admitted:
    """Makes the response's job, or finds the one that an equal request made.

    Raises: RequestError: also what chat completions can't say, where every target speaks nothing else.
    """
    try:
        order = await _prepared(asked, api, caller)
    except RequestError:
        # What was accepted once is answered as then, even if the response before it is gone.
        if asked.identity.key and (known := await known_job(asked.identity, api, caller)):
            return Admitted(id=known.id)
        raise
    return await admit(order, asked.identity, api, caller)


async def _prepared(asked: Asked, api: Api, caller: Caller) -> Order:
    """The order, with the conversation that it continues and the target that it needs."""
    request, body, args = asked.request, asked.data.decode(), _args(asked)
    resolution = api.services.resolver.resolve(target=None, model=request.get("model"), endpoint=ENDPOINT)
    pinned: Candidate | None = None
    if request.get("previous_response_id") is not None:
        continued = await continue_from(request, resolution, api, caller)
        request, pinned = continued.request, continued.candidate
        body = _bounded(request, api.system.settings.max_body_bytes)
        args = msgspec.structs.replace(args, previous_id=continued.previous_id)
    pinned = pinned or _fitting(request, resolution, api)
    order = _order(asked, body, args)
    if pinned is None:
        return order
    return msgspec.structs.replace(order, target=pinned.target, model=pinned.model or order.model)


def _fitting(request: Json, resolution: Resolution, api: Api) -> Candidate | None:
    """Of a route's targets the first that may be asked this, where not all may; None: each may.

    Raises: RequestError: none may, for all speak chat completions alone.
    """
    specs = api.services.specs
    others = [one for one in resolution.candidates if not specs[one.target].speaks_chat_only]
    if len(others) == len(resolution.candidates):
        return None
    try:
        chat_request(request)
    except RequestError:
        if not others:
            raise
        return others[0]
    return None


def _bounded(request: Json, limit_bytes: int) -> str:
    body = msgspec.json.encode(request)
    if len(body) > limit_bytes:
        message = f"The conversation is longer than {limit_bytes} bytes (setting `max_body_bytes`)"
        raise RequestError(message, param="previous_response_id", code="context_length_exceeded")
    return body.decode()


def _order(asked: Asked, body: str, args: ResponseArgs) -> Order:
    identity = asked.identity
    return Order(
        body=body,
        model=asked.request.get("model"),
        endpoint=ENDPOINT,
        metadata=asked.request.get("metadata") or {},
        is_stream=asked.is_stream,
        awaited=not asked.is_background and asked.preference.is_held,
        key=identity.key,
        fingerprint=identity.fingerprint,
        origin=identity.origin,
        args=with_args(encode_args(args), InferArgs(passed=asked.passed)),
        on_end=() if args.is_stored else (NOTICE,),
        hops=asked.hops,
    )


def _args(asked: Asked) -> ResponseArgs:
    return ResponseArgs(is_background=asked.is_background, is_stored=asked.request.get("store") is not False)


def _metadata(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise RequestError("metadata: it must be an object of strings", param="metadata", code="invalid_type")
    return given

"""``POST /v1/responses``: from the request's bytes to its one job."""

from typing import Any

import msgspec
from starlette.requests import Request

from forebay.api.admission import Admitted, admit
from forebay.api.bodies import decode, read_body
from forebay.api.context import Api, Caller
from forebay.api.idempotency import Identity, identify
from forebay.api.inference import Preference
from forebay.api.passing import passed_of
from forebay.api.requests import check_metadata, parse_head
from forebay.api.responses_previous import continue_from
from forebay.domain.errors import NotSupported, RequestError
from forebay.domain.infer_args import InferArgs, with_args
from forebay.domain.order import Order
from forebay.domain.passed import Passed
from forebay.domain.record import Record
from forebay.domain.response import ENDPOINT, ResponseArgs, encode_args
from forebay.engine.handlers.erase import NOTICE
from forebay.policy.resolution import Resolution
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
    return Asked(data=data, request=body, identity=identity, preference=preference, passed=passed)


async def admit_asked(asked: Asked, api: Api, caller: Caller) -> Admitted:
    """Makes the response's job, or finds the one that an equal request made.

    Raises: RequestError: also what chat completions can't say, where every target speaks nothing else.
    """
    model = asked.request.get("model")
    resolution = api.services.resolver.resolve(target=None, model=model, endpoint=ENDPOINT)
    order = _order(asked)
    if asked.request.get("previous_response_id") is not None:
        continued = await continue_from(asked.request, resolution, api, caller)
        body = msgspec.json.encode(continued.request)
        check_mappable(continued.request, resolution, api)
        limit_bytes = api.system.settings.max_body_bytes
        if len(body) > limit_bytes:
            message = f"The conversation is longer than {limit_bytes} bytes (setting `max_body_bytes`)"
            raise RequestError(message, param="previous_response_id", code="context_length_exceeded")
        args = msgspec.structs.replace(_args(asked), previous_id=continued.previous_id)
        order = msgspec.structs.replace(order, body=body.decode(), args=encode_args(args))
        if continued.candidate is not None:
            pinned = continued.candidate
            order = msgspec.structs.replace(order, target=pinned.target, model=pinned.model or order.model)
    else:
        check_mappable(asked.request, resolution, api)
    order = msgspec.structs.replace(order, args=with_args(order.args, InferArgs(passed=asked.passed)))
    return await admit(order, asked.identity, api, caller)


def check_mappable(request: Json, resolution: Resolution, api: Api) -> None:
    """Raises: RequestError: no target that may serve it can be asked this."""
    specs = [api.services.specs[candidate.target] for candidate in resolution.candidates]
    if all(spec.speaks_chat_only for spec in specs):
        chat_request(request)


def _order(asked: Asked) -> Order:
    args = _args(asked)
    identity = asked.identity
    return Order(
        body=asked.data.decode(),
        model=asked.request.get("model"),
        endpoint=ENDPOINT,
        metadata=asked.request.get("metadata") or {},
        is_stream=asked.is_stream,
        awaited=not asked.is_background and asked.preference.is_held,
        key=identity.key,
        fingerprint=identity.fingerprint,
        origin=identity.origin,
        args=encode_args(args),
        on_end=() if args.is_stored else (NOTICE,),
    )


def _args(asked: Asked) -> ResponseArgs:
    return ResponseArgs(is_background=asked.is_background, is_stored=asked.request.get("store") is not False)


def _metadata(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise RequestError("metadata: it must be an object of strings", param="metadata", code="invalid_type")
    return given

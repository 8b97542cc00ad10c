"""OpenAI's ``/v1/webhook_endpoints``: who hears of the ends of a tenant's jobs. Unknown fields are ignored."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta, structs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.bodies import decode, read_body
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.jobs.listing import read_limit
from forebay.api.jobs.requests import Name
from forebay.api.paging import page_response, read_cursor
from forebay.api.webhooks.views import DeletedEndpoint, EndpointList, EventTypeList, TestView, secret_view, view_of
from forebay.domain.errors import Conflict, NotFound, RequestError, TargetError, VersionConflict
from forebay.domain.stored import StoredRecord
from forebay.domain.webhook import ENDPOINT, MOST_ENDPOINTS, Delivery, EndpointData, Subject, encoded, endpoint_data
from forebay.engine.handlers.notify import Event
from forebay.engine.notices import subscription
from forebay.engine.webhook_secrets import KEPT_SECONDS, endpoint_secret
from forebay.policy.events import EVENT_TYPES, is_pattern, subject_id
from forebay.policy.nearest import hint

Changed = Callable[[EndpointData], EndpointData]
MOST_LISTED = 100
_TRIES = 5  # of a change that others make at the same time

EventTypes = Annotated[
    list[Annotated[str, Meta(examples=["batch.completed", "job.*"])]],
    Meta(min_length=1, max_length=50, description="Names of events, or patterns such as `batch.*`"),
]
Url = Annotated[str, Meta(min_length=1, max_length=2048, description="https, or http")]


class CreateRequest(msgspec.Struct, kw_only=True):
    """What ``POST /v1/webhook_endpoints`` takes."""

    name: Name
    url: Url
    event_types: EventTypes


class UpdateRequest(msgspec.Struct, kw_only=True):
    """What may be changed. ``enabled``: true switches one on again that had answered 410."""

    name: Name | None = None
    url: Url | None = None
    event_types: EventTypes | None = None
    enabled: bool | None = None


class RotateRequest(msgspec.Struct, kw_only=True):
    """Whether deliveries are signed with both secrets for a day."""

    keep_old_secret_active_for_24_hours: bool | None = None


class TestRequest(msgspec.Struct, kw_only=True):
    """Which event to send a sample of."""

    event_type: Annotated[str, Meta(extra_json_schema={"enum": list(EVENT_TYPES)})]


_CREATE = msgspec.json.Decoder(CreateRequest)
_UPDATE = msgspec.json.Decoder(UpdateRequest)
_ROTATE = msgspec.json.Decoder(RotateRequest)
_TEST = msgspec.json.Decoder(TestRequest)


async def create(request: Request) -> Response:
    """POST /v1/webhook_endpoints: the one reply, beside a rotation's, that has the secret."""
    api, caller = api_of(request), caller_of(request)
    asked = decode(_CREATE, await read_body(request, api.system.settings.max_body_bytes))
    events = _events(asked.event_types)
    await _check_url(asked.url, api)
    services = api.services
    if len(await services.records.list(caller.tenant, ENDPOINT, limit=MOST_ENDPOINTS)) >= MOST_ENDPOINTS:
        raise RequestError(f"A tenant has at most {MOST_ENDPOINTS} webhook endpoints; delete one", code="too_many")
    now = services.clock.now()
    endpoint_id = services.ids.new("we")
    data = EndpointData(name=asked.name, url=asked.url, events=events, updated_at=now)
    secret = endpoint_secret(endpoint_id, data.secrets.version, services.secrets)  # before anything is stored
    record = StoredRecord(kind=ENDPOINT, id=endpoint_id, tenant=caller.tenant, data=encoded(data), created_at=now)
    await services.records.put(record)
    await _subscribe(endpoint_id, api, caller)
    return _response(secret_view(record, secret))


async def listed(request: Request) -> Response:
    """GET /v1/webhook_endpoints: newest first."""
    api, caller = api_of(request), caller_of(request)
    limit = read_limit(request.query_params.get("limit"), highest=MOST_LISTED)
    after = read_cursor(request.query_params.get("after") or None, "we_")
    records = await api.services.records.list(caller.tenant, ENDPOINT, after=after, limit=limit + 1, is_ascending=False)
    shown = [view_of(record, api.services) for record in records[:limit]]
    return page_response(EndpointList, shown, has_more=len(records) > limit)


async def read(request: Request) -> Response:
    """GET /v1/webhook_endpoints/{id}."""
    api = api_of(request)
    return _response(view_of(await _load(request, api, caller_of(request)), api.services))


async def update(request: Request) -> Response:
    """POST /v1/webhook_endpoints/{id}."""
    api, caller = api_of(request), caller_of(request)
    asked = decode(_UPDATE, await read_body(request, api.system.settings.max_body_bytes))
    events = None if asked.event_types is None else _events(asked.event_types)
    await _load(request, api, caller)
    if asked.url is not None:
        await _check_url(asked.url, api)

    def changed(data: EndpointData) -> EndpointData:
        after = structs.replace(
            data,
            name=data.name if asked.name is None else asked.name,
            url=data.url if asked.url is None else asked.url,
            events=data.events if events is None else events,
        )
        if asked.enabled or after.url != data.url:
            after = structs.replace(after, disabled_at=None, disabled_reason=None)
        if asked.enabled is False and data.disabled_at is None:
            reason = "It was switched off by an update"
            after = structs.replace(after, disabled_at=api.services.clock.now(), disabled_reason=reason)
        return after

    before, record = await _change(request, api, caller, changed)
    after = endpoint_data(record)
    if after.disabled_at is None and (after.events != before.events or before.disabled_at is not None):
        await _subscribe(record.id, api, caller)
    api.services.notices.forget(caller.tenant)
    return _response(view_of(record, api.services))


async def delete(request: Request) -> Response:
    """DELETE /v1/webhook_endpoints/{id}: what was to be sent there is not."""
    api, caller = api_of(request), caller_of(request)
    endpoint_id = request.path_params["id"]
    if not await api.services.records.delete(caller.tenant, ENDPOINT, endpoint_id):
        raise _none(endpoint_id)
    api.services.notices.forget(caller.tenant)
    return _response(DeletedEndpoint(id=endpoint_id))


async def rotate_secret(request: Request) -> Response:
    """POST /v1/webhook_endpoints/{id}/rotate_secret."""
    api, caller = api_of(request), caller_of(request)
    body = await read_body(request, api.system.settings.max_body_bytes)
    asked = decode(_ROTATE, body) if body.strip() else RotateRequest()
    keep_seconds = KEPT_SECONDS if asked.keep_old_secret_active_for_24_hours else 0.0

    def changed(data: EndpointData) -> EndpointData:
        rotated = data.secrets.rotated(api.services.clock.now(), keep_seconds=keep_seconds)
        return structs.replace(data, secrets=rotated)

    endpoint_secret(request.path_params["id"], 1, api.services.secrets)  # refused before anything is changed
    _, record = await _change(request, api, caller, changed)
    version = endpoint_data(record).secrets.version
    return _response(secret_view(record, endpoint_secret(record.id, version, api.services.secrets)))


async def test(request: Request) -> Response:
    """POST /v1/webhook_endpoints/{id}/test: sends a sample at once, and tells what the endpoint answered."""
    api, caller = api_of(request), caller_of(request)
    asked = decode(_TEST, await read_body(request, api.system.settings.max_body_bytes))
    if asked.event_type not in EVENT_TYPES:
        raise _unknown_event(asked.event_type, "event_type")
    record = await _load(request, api, caller)
    data, services = endpoint_data(record), api.services
    if services.notifier is None:
        raise RequestError("This server sends no webhooks", code="not_supported")
    sample = subject_id(Subject(asked.event_type.partition(".")[0]), services.ids.new("job"))
    event = Event(
        id=services.ids.new("evt"),
        created_at=int(services.clock.now()),
        type=asked.event_type,
        data=msgspec.Raw(msgspec.json.encode({"id": sample})),
    )
    versions = data.secrets.active(services.clock.now())
    delivery = Delivery(
        url=data.url,
        event_id=event.id,
        body=msgspec.json.encode(event),
        secrets=tuple(endpoint_secret(record.id, version, services.secrets) for version in versions),
    )
    try:
        reply = await services.notifier.send(delivery)
    except TargetError as error:
        raise RequestError(f"The sample was not delivered: {error.message}", code="webhook_unreachable") from error
    return _response(
        TestView(webhook_endpoint_id=record.id, event_type=asked.event_type, status_code=reply.status_code)
    )


async def event_types(_: Request) -> Response:
    """GET /v1/webhook_event_types."""
    return _response(EventTypeList(data=list(EVENT_TYPES)))


def read_events(names: list[str], param: str) -> tuple[str, ...]:
    """Patterns of events. Raises: RequestError: one names no event of ours."""
    for name in names:
        if not is_pattern(name):
            raise _unknown_event(name, param)
    return tuple(dict.fromkeys(names))


def _events(names: list[str]) -> tuple[str, ...]:
    return read_events(names, "event_types")


def _unknown_event(name: str, param: str) -> RequestError:
    message = f"{param}: {name!r} is none of {', '.join(EVENT_TYPES)}{hint(name, EVENT_TYPES)}"
    return RequestError(message, param=param)


async def _check_url(url: str, api: Api) -> None:
    if api.services.notifier is None:
        raise RequestError("This server sends no webhooks", code="not_supported")
    await api.services.notifier.check(url, "url")


async def _load(request: Request, api: Api, caller: Caller) -> StoredRecord:
    endpoint_id = request.path_params["id"]
    record = await api.services.records.get(caller.tenant, ENDPOINT, endpoint_id)
    if record is None:
        raise _none(endpoint_id)
    return record


async def _change(request: Request, api: Api, caller: Caller, changed: Changed) -> tuple[EndpointData, StoredRecord]:
    """Changes the record, whoever changes it too. Returns what it was and what it is. Raises: NotFound, Conflict."""
    for _ in range(_TRIES):
        record = await _load(request, api, caller)
        before = endpoint_data(record)
        after = changed(before)
        if after == before:
            return before, record
        after = structs.replace(after, updated_at=api.services.clock.now())
        try:
            return before, await api.services.records.put(structs.replace(record, data=encoded(after)))
        except VersionConflict:
            continue
    raise Conflict(f"Webhook endpoint {request.path_params['id']!r} is being changed by others; send it again")


async def _subscribe(endpoint_id: str, api: Api, caller: Caller) -> None:
    """Lets it hear of the jobs that are live already."""
    services = api.services
    services.notices.forget(caller.tenant)
    job = subscription(endpoint_id, caller.tenant, job_id=services.ids.new("job"), now=services.clock.now())
    await services.jobs.add([job])


def _none(endpoint_id: str) -> NotFound:
    return NotFound(f"There is no webhook endpoint {endpoint_id!r}", param="id")


def _response(view: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(view), media_type=JSON)


ROUTES = [
    Route("/v1/webhook_endpoints", create, methods=["POST"]),
    Route("/v1/webhook_endpoints", listed, methods=["GET"]),
    Route("/v1/webhook_endpoints/{id}", read, methods=["GET"]),
    Route("/v1/webhook_endpoints/{id}", update, methods=["POST"]),
    Route("/v1/webhook_endpoints/{id}", delete, methods=["DELETE"]),
    Route("/v1/webhook_endpoints/{id}/rotate_secret", rotate_secret, methods=["POST"]),
    Route("/v1/webhook_endpoints/{id}/test", test, methods=["POST"]),
    Route("/v1/webhook_event_types", event_types, methods=["GET"]),
]

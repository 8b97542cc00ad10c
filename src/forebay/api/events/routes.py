"""``/v1/events``: take events, list those that are kept, and send them through the present rules again."""

import asyncio
from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.bodies import decode, read_body
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON, error_body, problem_of
from forebay.api.events.reading import Reader
from forebay.api.events.views import EventList, MatchedView, ReceiptList, ReceiptView, RefusalView, event_view
from forebay.api.jobs.listing import read_limit, split
from forebay.api.paging import page_response, read_cursor
from forebay.domain.change import Added
from forebay.domain.errors import ForebayError, NotFound, RequestError
from forebay.domain.hops import HOPS_HEADER, read_hops
from forebay.domain.job import Job
from forebay.domain.rule import EVENT, Matched, event_data
from forebay.domain.stored import StoredRecord
from forebay.engine.events import Add, Incoming, receive, replay

FILTERS = ("unmatched", "limit", "after")
AT_ONCE = 32  # events of a request that are written side by side: they share commits
MOST_REPLAYED = 1000
_UNMATCHED = {"is_matched": "false"}


class ReplayRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which events: those named by their ``record_id``, or (``unmatched``) all that no rule has matched."""

    ids: list[str] | None = None
    unmatched: bool | None = None


_REPLAY = msgspec.json.Decoder(ReplayRequest)
_FIELDS = ("ids", "unmatched")


async def send(request: Request) -> Response:
    """POST /v1/events: 202 when every good event is durable with the jobs that it made."""
    api, caller = api_of(request), caller_of(request)
    data = await read_body(request, api.system.settings.max_body_bytes)
    reader = Reader(api.services.ids.new("evt"), api.services.clock.now())
    hops = read_hops(request.headers.get(HOPS_HEADER))
    events = [_after(event, hops) for event in reader.read(request.headers, data)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(event: Incoming | RequestError) -> ReceiptView:
        async with gate:
            return await _receipt(event, api, caller)

    receipts = await asyncio.gather(*map(one, events))
    return Response(msgspec.json.encode(ReceiptList(data=receipts)), status_code=202, media_type=JSON)


async def listed(request: Request) -> Response:
    """GET /v1/events: newest first; with ``unmatched=true`` those that no rule matched."""
    api, caller = api_of(request), caller_of(request)
    values, _ = split(request.query_params, FILTERS)
    limit = read_limit(values.get("limit"))
    match = _UNMATCHED if _is_true(values.get("unmatched")) else None
    after = read_cursor(values.get("after"), "event_")
    records = await api.services.records.list(
        caller.tenant, EVENT, after=after, limit=limit + 1, is_ascending=False, match=match
    )
    shown = [event_view(record, event_data(record)) for record in records[:limit]]
    return page_response(EventList, shown, has_more=len(records) > limit)


async def replayed(request: Request) -> Response:
    """POST /v1/events/replay: an event meets the rules that it has not met; none runs twice."""
    api, caller = api_of(request), caller_of(request)
    data = await read_body(request, api.system.settings.max_body_bytes)
    asked = decode(_REPLAY, data, known=_FIELDS)
    if (asked.ids is None) == (asked.unmatched is not True):
        raise RequestError("Name `ids`, or `unmatched: true`", param="ids")
    receipts: list[ReceiptView] = []
    for record in await _chosen(asked, api, caller):
        matched = await replay(record, api.services, tenant=caller.tenant, add=_adder(api, caller))
        receipts.append(ReceiptView(id=event_data(record).event_id, matched=_shown(matched)))
    return Response(msgspec.json.encode(ReceiptList(data=receipts)), status_code=202, media_type=JSON)


def _after(event: Incoming | RequestError, hops: int) -> Incoming | RequestError:
    return event if isinstance(event, RequestError) or not hops else msgspec.structs.replace(event, hops=hops)


async def _receipt(event: Incoming | RequestError, api: Api, caller: Caller) -> ReceiptView:
    if isinstance(event, RequestError):
        return _refused(event)
    try:
        received = await receive(event, api.services, tenant=caller.tenant, add=_adder(api, caller))
    except RequestError as error:
        return _refused(error)
    return ReceiptView(id=event.id, matched=_shown(received.data.matched))


def _adder(api: Api, caller: Caller) -> Add:
    async def add(jobs: Sequence[Job]) -> list[Added]:
        taken = 0
        try:
            for _ in jobs:
                await api.quotas.take(caller.tenant)
                taken += 1
        except ForebayError:
            api.quotas.give_back(caller.tenant, taken)
            raise
        return await api.quotas.add(jobs)

    return add


async def _chosen(asked: ReplayRequest, api: Api, caller: Caller) -> list[StoredRecord]:
    records = api.services.records
    if asked.ids is None:
        return await records.list(caller.tenant, EVENT, limit=MOST_REPLAYED, match=_UNMATCHED)
    if len(asked.ids) > MOST_REPLAYED:
        raise RequestError(f"At most {MOST_REPLAYED} events are replayed at once", param="ids")
    found = [await records.get(caller.tenant, EVENT, record_id) for record_id in asked.ids]
    for record_id, record in zip(asked.ids, found, strict=True):
        if record is None:
            raise NotFound(f"There is no event {record_id!r}", param="ids")
    return [record for record in found if record is not None]


def _shown(matched: Sequence[Matched]) -> list[MatchedView]:
    return [MatchedView(rule=one.rule, job_id=one.job_id) for one in matched]


def _refused(error: RequestError) -> ReceiptView:
    body = error_body(problem_of(error))
    return ReceiptView(error=RefusalView(message=body.message, type=body.type, param=body.param, code=error.code))


def _is_true(text: str | None) -> bool:
    if text in {None, "false", "0"}:
        return False
    if text in {"true", "1"}:
        return True
    raise RequestError("unmatched: true or false", param="unmatched")


ROUTES = [
    Route("/v1/events", send, methods=["POST"]),
    Route("/v1/events", listed, methods=["GET"]),
    Route("/v1/events/replay", replayed, methods=["POST"]),
]

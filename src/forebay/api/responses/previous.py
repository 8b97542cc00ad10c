"""``previous_response_id``: the conversation goes on with the vendor's own id, or is sent again."""

from typing import Any

from forebay.api.context import Api, Caller
from forebay.api.responses.reading import SERVED, Found, find_response
from forebay.domain.errors import NotFound, RequestError
from forebay.domain.record import Record
from forebay.domain.response import response_id, response_of
from forebay.policy.resolution import Candidate, Resolution
from forebay.policy.responses_view import is_response

Json = dict[str, Any]

LONGEST_CONVERSATION = 1_000  # responses in a row
_PARAM = "previous_response_id"
_OF_ITS_VENDOR = frozenset({"id", "status"})  # of an item that goes to another server than the one that made it


class Continued(Record, frozen=True, kw_only=True):
    """What a request becomes that continues a response. ``candidate``: the one target that knows it."""

    request: Json
    previous_id: str
    candidate: Candidate | None = None


async def continue_from(request: Json, resolution: Resolution, api: Api, caller: Caller) -> Continued:
    """Resolves the id. Raises: RequestError: there is no such response, or nothing can follow it."""
    named = request[_PARAM]
    if not isinstance(named, str):
        raise RequestError(f"{_PARAM}: it must be a string", param=_PARAM)
    found = await _found(named, api, caller)
    if not is_response(found.answered):
        state = found.view()["status"]
        message = f"Response {named!r} is {state}; only one that was answered can be continued"
        raise RequestError(message, param=_PARAM, code="previous_response_not_completed")
    candidate = _served_natively(found, resolution)
    if candidate is not None:
        return Continued(
            request={**request, _PARAM: found.answered["id"]},
            previous_id=response_id(found.job.id),
            candidate=candidate,
        )
    before = await conversation(found, api, caller)
    replayed = {name: value for name, value in request.items() if name != _PARAM}
    replayed["input"] = [*before, *input_items(request.get("input"))]
    return Continued(request=replayed, previous_id=response_id(found.job.id))


async def conversation(found: Found, api: Api, caller: Caller) -> list[Json]:
    """All items up to the response's own output. Raises: RequestError: a response in between is gone."""
    turns: list[list[Json]] = []
    for _ in range(LONGEST_CONVERSATION):
        output = found.answered["output"] if is_response(found.answered) else []
        turns.append([*input_items(found.request.get("input")), *map(_portable, input_items(output))])
        args = response_of(found.job)
        if found.request.get(_PARAM) is None or args is None or args.previous_id is None:
            return [item for turn in reversed(turns) for item in turn]
        found = await _found(args.previous_id, api, caller)
    raise RequestError(f"{_PARAM}: more than {LONGEST_CONVERSATION} responses in a row", param=_PARAM)


def input_items(given: Any) -> list[Json]:
    """A request's input, or an answer's output, as items; what is no object is none."""
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []


async def _found(named: str, api: Api, caller: Caller) -> Found:
    try:
        return await find_response(named, api, caller, SERVED)
    except NotFound as exc:
        message = f"Previous response with id {named!r} not found."
        raise RequestError(message, param=_PARAM, code="previous_response_not_found") from exc


def _served_natively(found: Found, resolution: Resolution) -> Candidate | None:
    """The candidate whose server made that response, and so knows it by an id of its own."""
    named = found.answered.get("id")
    if not isinstance(named, str) or named == response_id(found.job.id) or not found.job.attempts:
        return None
    target = found.job.attempts[-1].target
    return next((one for one in resolution.candidates if one.target == target), None)


def _portable(item: Json) -> Json:
    """An item of an output without what only its own vendor knows it by."""
    if item.get("type") == "reasoning":
        return item
    return {name: value for name, value in item.items() if name not in _OF_ITS_VENDOR}

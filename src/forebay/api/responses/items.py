"""``GET /v1/responses/{id}/input_items``: what a response was made from, its conversation included."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from forebay.api.context import api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.jobs.listing import read_limit
from forebay.api.responses.previous import conversation
from forebay.api.responses.reading import find_response
from forebay.domain.errors import RequestError

Json = dict[str, Any]

HIGHEST_LIMIT = 100
_ASSISTANT = "assistant"


async def listed(request: Request) -> Response:
    """GET …/input_items: newest first, or ``order=asc``."""
    api, caller = api_of(request), caller_of(request)
    params = request.query_params
    order = params.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise RequestError(f"order: it must be `asc` or `desc`, not {order!r}", param="order")
    limit = read_limit(params.get("limit"), highest=HIGHEST_LIMIT)
    found = await find_response(request.path_params["id"], api, caller)
    unanswered = msgspec.structs.replace(found, answered=None)
    tail = found.job.id.removeprefix("job_")
    items = [_shown(item, f"{tail}_{at}") for at, item in enumerate(await conversation(unanswered, api, caller))]
    if order == "desc":
        items.reverse()
    return Response(msgspec.json.encode(_page(items, params.get("after"), limit)), media_type=JSON)


def _page(items: list[Json], after: str | None, limit: int) -> Json:
    start = 0
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise RequestError(f"after: there is no item {after!r} here", param="after")
        start = ids.index(after) + 1
    page = items[start : start + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(items),
    }


def _shown(item: Json, name: str) -> Json:
    """The item as the vendor lists it: with an id, and with its text as parts."""
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    if kind != "message":
        return {"id": f"item_{name}", **item, "type": kind}
    content = item.get("content")
    if isinstance(content, str) and item.get("role") == _ASSISTANT:
        content = [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}]
    elif isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    return {"id": f"msg_{name}", "status": "completed", **item, "type": "message", "content": content}

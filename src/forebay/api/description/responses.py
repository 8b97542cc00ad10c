"""What the paths of Responses take and give, for ``/openapi.json``."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from forebay.api.description.operation import HOPS, ID, KEY, PREFER, STRING, Operation, limit, query
from forebay.domain.response import ENDPOINT, State

_INCLUDE = query("include", STRING, "What else is to be told; everything that is known always is")


class ResponseView(msgspec.Struct, kw_only=True):
    """A Response, in OpenAI's shape; the members named here are always ours."""

    id: Annotated[str, Meta(pattern="^resp_")]
    object: str
    created_at: float
    status: State
    background: bool
    store: bool
    previous_response_id: str | None
    model: Any
    output: list[Any]
    error: Any
    incomplete_details: Any
    usage: Any
    metadata: dict[str, str] | None


class ResponseDeleted(msgspec.Struct, kw_only=True):
    """The reply to a deleted response."""

    id: str
    object: str = "response"
    deleted: bool = True


class InputItems(msgspec.Struct, kw_only=True):
    """A page of what a response was made from."""

    object: str
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ResponseRequest(msgspec.Struct, kw_only=True):
    """A request for a Response; its other members are the model's affair."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | list[Any] | None = None
    background: bool | None = None
    stream: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    metadata: dict[str, str] | None = None


_PATH = ENDPOINT + "/{id}"
_STREAM = query("stream", {"type": "boolean"}, "Its events instead of itself")
_AFTER_EVENT = query("starting_after", {"type": "integer", "minimum": 0}, "With `stream`: from after this event on")
_ORDER = query("order", {"enum": ["asc", "desc"]}, "Newest first by default")
_AFTER_ITEM = query("after", STRING, "The last id of the page before")

RESPONSE_OPERATIONS = (
    Operation(
        method="post",
        path=ENDPOINT,
        summary="Make a response: at once, as a stream, or in the background",
        tag="responses",
        request=ResponseRequest,
        answer=bytes,  # a Response or its events
        parameters=(KEY, PREFER, HOPS),
        refusals=(202, 400, 404, 409, 413, 502, 503, 504),
    ),
    Operation(
        method="get",
        path=_PATH,
        summary="Read a response, or follow its events from any of them on",
        tag="responses",
        answer=bytes,  # likewise
        parameters=(ID, _STREAM, _AFTER_EVENT, _INCLUDE),
        refusals=(400, 404),
    ),
    Operation(
        method="delete",
        path=_PATH,
        summary="Delete what a response was asked and answered; one that runs is cancelled first",
        tag="responses",
        answer=ResponseDeleted,
        parameters=(ID,),
        refusals=(404, 409),
    ),
    Operation(
        method="post",
        path=_PATH + "/cancel",
        summary="Cancel a background response; an ended one stays as it is",
        tag="responses",
        answer=ResponseView,
        parameters=(ID,),
        refusals=(400, 404),
    ),
    Operation(
        method="get",
        path=_PATH + "/input_items",
        summary="List what a response was made from",
        tag="responses",
        answer=InputItems,
        parameters=(ID, limit(100, 20), _ORDER, _AFTER_ITEM, _INCLUDE),
        refusals=(400, 404),
    ),
)

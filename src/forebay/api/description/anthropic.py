"""What Anthropic's message batches take and give, for ``/openapi.json``."""

from typing import Annotated

import msgspec
from msgspec import Meta

from forebay.api.description.operation import HOPS, ID, KEY, Operation, limit, query
from forebay.api.description.operation import STRING as NAMED
from forebay.api.message_batches.routes import JSONL, MOST_LISTED, MessageBatchDeleted, MessageBatchList
from forebay.api.message_batches.views import MessageBatchView

_TAG = "message batches"
_CURSOR = {**NAMED, "pattern": "^msgbatch_"}
_CUSTOM_ID = r"^[a-zA-Z0-9_-]{1,64}$"


class MessageParams(msgspec.Struct, kw_only=True):
    """The body of a call of ``/v1/messages``: passed on verbatim, whatever else it has."""

    model: Annotated[str, Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)]
    messages: list[dict[str, str]]


class MessageRequest(msgspec.Struct, kw_only=True):
    """One request of a batch."""

    custom_id: Annotated[str, Meta(pattern=_CUSTOM_ID, description="Unique within the batch")]
    params: MessageParams


class MessageBatchCreate(msgspec.Struct, kw_only=True):
    """What ``POST /v1/messages/batches`` takes."""

    requests: Annotated[list[MessageRequest], Meta(min_length=1)]


ANTHROPIC_OPERATIONS = (
    Operation(
        method="post",
        path="/v1/messages/batches",
        summary="Run many Messages requests, on Anthropic's wire",
        tag=_TAG,
        request=MessageBatchCreate,
        answer=MessageBatchView,
        parameters=(KEY, HOPS),
        refusals=(400, 409, 413, 503),
    ),
    Operation(
        method="get",
        path="/v1/messages/batches",
        summary="List message batches, newest first",
        tag=_TAG,
        answer=MessageBatchList,
        parameters=(
            limit(MOST_LISTED, 20),
            query("after_id", _CURSOR, "Those older than this one"),
            query("before_id", _CURSOR, "Those newer than this one; not with `after_id`"),
        ),
        refusals=(400,),
    ),
    Operation(
        method="get",
        path="/v1/messages/batches/{id}",
        summary="Read a message batch; its counts are live",
        tag=_TAG,
        answer=MessageBatchView,
        parameters=(ID,),
        refusals=(404,),
    ),
    Operation(
        method="delete",
        path="/v1/messages/batches/{id}",
        summary="Erase an ended message batch: requests and results",
        tag=_TAG,
        answer=MessageBatchDeleted,
        parameters=(ID,),
        refusals=(404, 409),
    ),
    Operation(
        method="post",
        path="/v1/messages/batches/{id}/cancel",
        summary="Stop a message batch; what was done is in its results",
        tag=_TAG,
        answer=MessageBatchView,
        parameters=(ID,),
        refusals=(404, 409),
    ),
    Operation(
        method="get",
        path="/v1/messages/batches/{id}/results",
        summary="Stream the results, so far or whole",
        tag=_TAG,
        answer=bytes,
        answer_type=JSONL,
        parameters=(ID,),
        refusals=(404,),
    ),
)

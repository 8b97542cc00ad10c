"""What OpenAI's files and batches take and give, for ``/openapi.json``."""

from typing import Annotated

import msgspec
from msgspec import Meta

from forebay.api.batches.requests import ENDPOINTS, BatchRequest
from forebay.api.batches.routes import BatchList
from forebay.api.batches.views import BatchView
from forebay.api.description.operation import AFTER, FORM, HOPS, ID, JSONL, KEY, STRING, Operation, limit, query
from forebay.api.files.routes import FileDeleted, FileList, FileView


class UploadForm(msgspec.Struct, kw_only=True):
    """The fields of an upload."""

    file: Annotated[str, Meta(extra_json_schema={"format": "binary"})]
    purpose: str
    expires_after_anchor: str | None = msgspec.field(name="expires_after[anchor]", default=None)
    expires_after_seconds: int | None = msgspec.field(name="expires_after[seconds]", default=None)


_ORDER = query("order", {"enum": ["asc", "desc"], "default": "desc"}, "By time of creation")
_PURPOSE = query("purpose", STRING, "Only of this purpose")
_OFFSET = query(
    "offset", {"type": "integer", "minimum": 0}, "From this line on; `X-Last-Line` and `X-Incomplete` say how far"
)
_FILES = "files"
_BATCHES = "batches"

FILE_OPERATIONS = (
    Operation(
        method="post",
        path="/v1/files",
        summary="Upload a file",
        tag=_FILES,
        request=UploadForm,
        media_type=FORM,
        answer=FileView,
        parameters=(KEY,),
        refusals=(400, 409, 413, 503),
    ),
    Operation(
        method="get",
        path="/v1/files",
        summary="List files",
        tag=_FILES,
        answer=FileList,
        parameters=(_PURPOSE, _ORDER, limit(10_000, 10_000), AFTER),
        refusals=(400,),
    ),
    Operation(
        method="get",
        path="/v1/files/{id}",
        summary="Read what is known of a file",
        tag=_FILES,
        answer=FileView,
        parameters=(ID,),
        refusals=(404,),
    ),
    Operation(
        method="delete",
        path="/v1/files/{id}",
        summary="Delete a file",
        tag=_FILES,
        answer=FileDeleted,
        parameters=(ID,),
        refusals=(404,),
    ),
    Operation(
        method="get",
        path="/v1/files/{id}/content",
        summary="Read a file, also while its batch still writes it",
        tag=_FILES,
        answer=bytes,
        parameters=(ID, _OFFSET),
        refusals=(400, 404),
    ),
    Operation(
        method="post",
        path="/v1/batches",
        summary=f"Run a file of requests; endpoints: {', '.join(ENDPOINTS)}",
        tag=_BATCHES,
        request=BatchRequest,
        answer=BatchView,
        parameters=(KEY, HOPS),
        refusals=(400, 409, 503),
    ),
    Operation(
        method="get",
        path="/v1/batches",
        summary="List batches, newest first",
        tag=_BATCHES,
        answer=BatchList,
        parameters=(limit(100, 20), AFTER),
        refusals=(400, 404),
    ),
    Operation(
        method="get",
        path="/v1/batches/{id}",
        summary="Read a batch",
        tag=_BATCHES,
        answer=BatchView,
        parameters=(ID,),
        refusals=(404,),
    ),
    Operation(
        method="post",
        path="/v1/batches/{id}/cancel",
        summary="Stop a batch; what was done is published",
        tag=_BATCHES,
        answer=BatchView,
        parameters=(ID,),
        refusals=(404, 409),
    ),
    Operation(
        method="get",
        path="/v1/batches/{id}/results",
        summary="Read the results, so far or whole",
        tag=_BATCHES,
        answer=bytes,
        answer_type=JSONL,
        parameters=(ID,),
        refusals=(404,),
    ),
    Operation(
        method="post",
        path="/v1/batches/{id}/retry",
        summary="Make a new batch of the lines that did not succeed",
        tag=_BATCHES,
        answer=BatchView,
        parameters=(ID,),
        refusals=(404, 409),
    ),
)

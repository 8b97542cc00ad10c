"""How an operation of the API is described: the records of ``operations`` and the parameters that several share."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Method = Literal["get", "post", "put", "delete"]
JSON, NDJSON, JSONL = "application/json", "application/x-ndjson", "application/jsonl"
TEXT, FORM = "text/plain", "multipart/form-data"
EVENTS = "text/event-stream"


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a path, query or header."""

    name: str
    place: Literal["path", "query", "header"]
    schema: Mapping[str, Any]
    description: str
    is_json: bool = False  # its value is JSON text


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: Method
    path: str
    summary: str
    tag: str
    answer: Any  # the type of a good reply's JSON, or one of several; bytes: anything
    status: int = 200
    request: Any = None
    media_type: str = JSON  # of the request
    is_form_too: bool = False  # it may come as a form as well
    answer_type: str = JSON
    other_types: tuple[str, ...] = ()  # in which the same is answered as well
    parameters: tuple[Parameter, ...] = ()
    refusals: tuple[int, ...] = ()
    refusal: Any = None  # the type of a refusal's JSON, where it is not our envelope


def query(name: str, schema: Mapping[str, Any], description: str) -> Parameter:
    return Parameter(name=name, place="query", schema=schema, description=description)


STRING: Mapping[str, Any] = {"type": "string", "minLength": 1}
ID = Parameter(name="id", place="path", schema=STRING, description="The id")
KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    schema={"type": "string", "minLength": 1, "maxLength": 255},
    description="A repeat under the same key answers as the first did; another body is a 409",
)
PREFER = Parameter(
    name="Prefer",
    place="header",
    schema=STRING,
    description="`respond-async[, wait=N]`: 202 and the job after N seconds",
)
HOPS = Parameter(
    name="forebay-hops",
    place="header",
    schema={"type": "string", "pattern": "^[0-9]{1,6}$"},
    description="How many events, each set off by the one before, led to this request: bounds cycles of rules",
)
AFTER = query("after", STRING, "The last id of the page before")


def limit(highest: int, default: int) -> Parameter:
    """How many a page has."""
    return query("limit", {"type": "integer", "minimum": 1, "maximum": highest, "default": default}, "How many")

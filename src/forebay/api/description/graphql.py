"""What ``/graphql`` takes and gives, for ``/openapi.json``; what may be asked is told by its own introspection."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from forebay.api.description.operation import JSON, STRING, Operation, Parameter, query
from forebay.api.graphql.http import GRAPHQL_JSON, Asked


class GraphQLPlace(msgspec.Struct, kw_only=True):
    """Where in the document."""

    line: int
    column: int


class GraphQLError(msgspec.Struct, kw_only=True):
    """What went wrong; ``extensions.code`` is the code that the other wires give."""

    message: str
    locations: list[GraphQLPlace] | None = None
    path: list[str | int] | None = None
    extensions: dict[str, Any]


class GraphQLReply(msgspec.Struct, kw_only=True):
    """``data`` is absent where nothing was executed."""

    data: dict[str, Any] | None = None
    errors: Annotated[list[GraphQLError], Meta(min_length=1)] = []


_ACCEPT = Parameter(
    name="Accept",
    place="header",
    schema={"enum": [JSON, GRAPHQL_JSON]},
    description=f"With `{JSON}` a well-formed request is answered by 200, whatever became of it",
)
_OBJECT = {"type": "object"}

GRAPHQL_OPERATIONS = (
    Operation(
        method="post",
        path="/graphql",
        summary="Ask or change by GraphQL; subscribe over a WebSocket (`graphql-transport-ws`)",
        tag="graphql",
        request=Asked,
        answer=GraphQLReply,
        other_types=(GRAPHQL_JSON,),
        parameters=(_ACCEPT,),
        refusal=GraphQLReply,
        refusals=(400, 406, 413, 415, 503),
    ),
    Operation(
        method="get",
        path="/graphql",
        summary="Ask by GraphQL: queries alone",
        tag="graphql",
        answer=GraphQLReply,
        other_types=(GRAPHQL_JSON,),
        parameters=(
            _ACCEPT,
            query("query", STRING, "The document"),
            query("operationName", STRING, "Which of its operations"),
            Parameter(name="variables", place="query", schema=_OBJECT, description="A JSON object", is_json=True),
            Parameter(name="extensions", place="query", schema=_OBJECT, description="A JSON object", is_json=True),
        ),
        refusal=GraphQLReply,
        refusals=(400, 405, 406, 503),
    ),
)

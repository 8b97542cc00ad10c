"""``/graphql`` over HTTP. Source: https://graphql.github.io/graphql-over-http/draft/ (July 2025)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from forebay.api.bodies import decode, read_body
from forebay.api.context import api_of, caller_of
from forebay.api.errors import GRAPHQL_PATHS, JSON, problem_of
from forebay.api.graphql.errors import NO_QUERY, PARSE_FAILED, formatted, request_error
from forebay.api.graphql.operation import Operation
from forebay.api.graphql.scalars import encoded
from forebay.api.graphql.schema import schema
from forebay.api.hops import hops_of
from forebay.domain.errors import ForebayError, NotSupported, RequestError
from forebay.policy.json_text import DEEPEST, is_too_deep

GRAPHQL_JSON = "application/graphql-response+json"
ANY = ("*/*", "application/*", JSON)
_READING = frozenset({OperationType.QUERY})
_POSTED = frozenset({OperationType.QUERY, OperationType.MUTATION})
_PARAMETERS = ("query", "operationName", "variables", "extensions")


class Asked(msgspec.Struct, kw_only=True):
    """A request's parameters; others are ignored, as the specification wants."""

    query: str
    operation_name: str | None = msgspec.field(default=None, name="operationName")
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None


_ASKED = msgspec.json.Decoder(Asked)
_OBJECT = msgspec.json.Decoder(dict[str, Any])


async def graphql(request: Request) -> Response:
    """POST /graphql, and GET for queries alone."""
    media_type = _media_type(request)
    if media_type is None:
        message = f"This answers in {GRAPHQL_JSON} or {JSON}; name one of them in Accept"
        return _refused(406, request_error(message, "not_acceptable"), JSON)
    try:
        asked = _from_query(request) if request.method == "GET" else await _from_body(request)
    except ForebayError as error:
        problem = problem_of(error)
        refusal = GraphQLError(problem.message, original_error=error)
        return _refused(problem.status, refusal, media_type, problem.headers)
    return await _answered(asked, request, media_type)


async def _answered(asked: Asked, request: Request, media_type: str) -> Response:
    operation = Operation(api=api_of(request), caller=caller_of(request), hops=hops_of(request))
    try:
        result = await schema().execute(
            asked.query,
            variable_values=asked.variables,
            operation_name=asked.operation_name,
            context_value=operation,
            allowed_operation_types=_READING if request.method == "GET" else _POSTED,
        )
    except MissingQueryError:
        return _refused(_wrong(media_type), request_error(NO_QUERY, PARSE_FAILED), media_type)
    except CannotGetOperationTypeError as error:
        return _refused(_wrong(media_type), request_error(error.as_http_error_reason()), media_type)
    except InvalidOperationTypeError as error:
        return _wrong_operation(error.operation_type, media_type)
    return Response(_document(result), _status(result, media_type), media_type=media_type)


def _wrong_operation(kind: OperationType, media_type: str) -> Response:
    if kind is OperationType.SUBSCRIPTION:
        message = "Subscribe over a WebSocket with the subprotocol `graphql-transport-ws`"
        return _refused(400, request_error(message, "not_supported"), media_type)
    error = request_error("Only queries are answered to a GET; send mutations by POST", "method_not_allowed")
    return _refused(405, error, media_type, {"allow": "POST"})


def _media_type(request: Request) -> str | None:
    """What the client accepts: the older type where it leaves the choice to us. None: neither."""
    accepted = [part.strip() for part in ",".join(request.headers.getlist("accept")).lower().split(",")]
    for entry in accepted:
        name, *parameters = [part.strip() for part in entry.split(";")]
        if any(one.startswith("charset=") and one != "charset=utf-8" for one in parameters):
            continue
        if name == GRAPHQL_JSON:
            return GRAPHQL_JSON
        if name in ANY or not name:
            return JSON
    return None


def _from_query(request: Request) -> Asked:
    given = {name: request.query_params[name] for name in _PARAMETERS if request.query_params.get(name)}
    if "query" not in given:
        raise RequestError("Send a GraphQL request by POST, or `query` in the address", param="query")
    objects = {name: _object(given[name], name) for name in ("variables", "extensions") if name in given}
    return Asked(query=given["query"], operation_name=given.get("operationName"), **objects)


def _object(text: str, param: str) -> dict[str, Any]:
    data = text.encode("utf-8", "surrogatepass")
    _bound_depth(data)
    try:
        return decode(_OBJECT, data)
    except RequestError as error:
        raise RequestError(f"{param}: {error.message}", param=param, code=error.code) from error


async def _from_body(request: Request) -> Asked:
    kind, _, charset = request.headers.get("content-type", "").lower().partition(";")
    if kind.strip() != JSON or charset.strip().replace('"', "") not in {"", "charset=utf-8"}:
        raise _UnsupportedType(f"Send a GraphQL request as {JSON}", code="unsupported_media_type")
    data = await read_body(request, api_of(request).system.settings.max_body_bytes)
    if data.lstrip()[:1] == b"[":
        raise NotSupported("One request at a time: batching is not supported")
    _bound_depth(data)
    return decode(_ASKED, data)


class _UnsupportedType(RequestError):
    status_code = 415


def _bound_depth(data: bytes) -> None:
    if is_too_deep(data):
        raise RequestError(f"The request is nested deeper than {DEEPEST}", code="invalid_json")


def _status(result: ExecutionResult, media_type: str) -> int:
    """In the older type every well-formed request is answered with 200."""
    return _wrong(media_type) if isinstance(result, PreExecutionError) or _is_failed(result) else HTTPStatus.OK


def _is_failed(result: ExecutionResult) -> bool:
    """Whether nothing was executed: the variables were wrong, and the reply has no data."""
    return result.data is None and bool(result.errors) and all(error.path is None for error in result.errors or ())


def _wrong(media_type: str) -> int:
    return HTTPStatus.BAD_REQUEST if media_type == GRAPHQL_JSON else HTTPStatus.OK


def _document(result: ExecutionResult) -> bytes:
    errors = formatted(result.errors or [])
    if isinstance(result, PreExecutionError) or _is_failed(result):
        return encoded({"errors": errors})
    return encoded({"errors": errors, "data": result.data} if errors else {"data": result.data})


def _refused(status: int, error: GraphQLError, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encoded({"errors": formatted([error])}), status, headers=dict(headers or {}), media_type=media_type)


ROUTES = [Route(path, graphql, methods=["GET", "POST"]) for path in GRAPHQL_PATHS]

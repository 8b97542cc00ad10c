"""The one table from what went wrong to HTTP, in OpenAI's envelope or, for Anthropic's clients, in theirs."""

import errno
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.anthropic_errors import type_of_status
from forebay.api.context import request_id_of
from forebay.domain.errors import Conflict, Forbidden, Overloaded, RequestError, StoreUnavailable, TooMany, Unauthorized

JSON = "application/json"
NO_RETRY = {"x-should-retry": "false"}  # the official SDKs obey it
STORE_RETRY_SECONDS = "1"
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})
GRAPHQL_PATHS = ("/graphql", "/v1/graphql")
CLIENT_CLOSED_REQUEST = 499  # nobody reads it. Source: nginx

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, before it is written in a vendor's way."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    type: str | None = None
    headers: Mapping[str, str] = {}


class ErrorBody(msgspec.Struct, kw_only=True):
    """The inside of the error envelope."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorEnvelope(msgspec.Struct, kw_only=True):
    """What every refusal looks like."""

    error: ErrorBody


def is_anthropic(connection: HTTPConnection) -> bool:
    """Whether the client speaks Anthropic's wire."""
    return "anthropic-version" in connection.headers or connection.scope["path"].startswith("/v1/messages")


def error_body(problem: Problem) -> ErrorBody:
    """The problem as OpenAI's clients read it; also a line of a bulk reply."""
    fallback = "server_error" if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    kind = problem.type or _OPENAI_TYPES.get(problem.status, fallback)
    return ErrorBody(message=problem.message, type=kind, param=problem.param, code=problem.code)


def graphql_error(problem: Problem) -> dict[str, Any]:
    """The problem as GraphQL's clients read it. Source: https://spec.graphql.org/draft/#sec-Errors"""
    extensions = {"code": problem.code, "param": problem.param, "status": problem.status}
    named = {name: value for name, value in extensions.items() if value is not None}
    return {"message": problem.message, "extensions": named}


def error_document(problem: Problem, connection: HTTPConnection) -> bytes:
    """The problem's JSON, in the shape that this client understands."""
    if connection.scope["path"] in GRAPHQL_PATHS:
        return msgspec.json.encode({"errors": [graphql_error(problem)]})
    if not is_anthropic(connection):
        return msgspec.json.encode(ErrorEnvelope(error=error_body(problem)))
    error = {
        "type": type_of_status(problem.status),
        "message": problem.message,
        "code": problem.code,
        "param": problem.param,
    }
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id_of(connection)})


def problem_response(problem: Problem, connection: HTTPConnection) -> Response:
    """The problem as a reply."""
    return Response(
        error_document(problem, connection), status_code=problem.status, headers=dict(problem.headers), media_type=JSON
    )


def problem_of(error: Exception) -> Problem:
    """What an exception of ours, or of the framework's, means to a client."""
    match error:
        case RequestError():
            status, headers = error.status_code, _headers(error)
            return Problem(status=status, message=error.message, code=error.code, param=error.param, headers=headers)
        case StoreUnavailable():
            message = f"The store is not available now, and nothing was accepted: {error}"
            headers = {"retry-after": STORE_RETRY_SECONDS}
            return Problem(status=503, message=message, code="store_unavailable", headers=headers)
        case OSError() if error.errno in EXHAUSTED:
            message = f"The server has run out of something ({error.strerror}); send the request again"
            headers = {"retry-after": STORE_RETRY_SECONDS}
            return Problem(status=503, message=message, code="server_overloaded", headers=headers)
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return _framework(error)
        case _:
            return Problem(status=500, message="Something unforeseen happened; the server's log has it under this id")


async def handle_error(request: Request, error: Exception) -> Response:
    """The handler of every exception that a route may raise."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        error = HTTPException(error.status_code, headers={"Allow": ", ".join(_allowed(request, error))})
    return problem_response(problem_of(error), request)


async def handle_unforeseen(request: Request, error: Exception) -> Response:
    """The last handler; the framework logs the exception after it."""
    return problem_response(problem_of(error), request)


def _headers(error: RequestError) -> Mapping[str, str]:
    """What a client's library reads beside the body. Source: RFC 6750 for the challenges"""
    match error:
        case Conflict():
            return NO_RETRY
        case Unauthorized():
            why = "" if error.is_missing else ', error="invalid_token"'
            return {"www-authenticate": f'Bearer realm="forebay"{why}'}
        case Forbidden() if error.scope is not None:
            return {"www-authenticate": f'Bearer realm="forebay", error="insufficient_scope", scope="{error.scope}"'}
        case Overloaded():
            return {"retry-after": STORE_RETRY_SECONDS}
        case TooMany():
            return {"retry-after": str(max(1, math.ceil(error.retry_after)))}
        case _:
            return {}


def _allowed(request: Request, error: HTTPException) -> list[str]:
    """What a path takes: a path may have several routes, and the framework names the methods of the first."""
    path = request.scope["path"]
    routes = [route for route in request.app.router.routes if isinstance(route, Route) and route.path_regex.match(path)]
    methods = {method for route in routes for method in route.methods or ()}
    return sorted(methods) or [(error.headers or {}).get("Allow", "")]


def _invalid(error: RequestValidationError) -> Problem:
    first = error.errors()[0] if error.errors() else {"loc": (), "msg": "the request can't be read"}
    place = ".".join(str(part) for part in first["loc"] if part not in {"body", "query", "path", "header"})
    code = "missing_required_parameter" if first.get("type") == "missing" else "invalid_value"
    message = f"{place}: {first['msg']}" if place else str(first["msg"])
    return Problem(status=400, message=message, code=code, param=place or None)


def _framework(error: HTTPException) -> Problem:
    if error.status_code == HTTPStatus.NOT_FOUND and error.detail == HTTPStatus.NOT_FOUND.phrase:
        return Problem(status=404, message="There is nothing at this path; see /docs", code="not_found")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        message = f"This path does not take that method; it takes {(error.headers or {}).get('Allow')}"
        return Problem(status=405, message=message, code="method_not_allowed", headers=error.headers or {})
    status = 400 if error.status_code == HTTPStatus.UNPROCESSABLE_ENTITY else error.status_code
    return Problem(status=status, message=str(error.detail), headers=error.headers or {})

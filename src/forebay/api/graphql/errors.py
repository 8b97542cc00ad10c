"""Errors in GraphQL's shape: our own codes stand in ``extensions``, and nothing unforeseen is told to a client."""

from collections.abc import Sequence
from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError
from strawberry.utils.str_converters import to_camel_case

from forebay.api.errors import graphql_error, problem_of
from forebay.domain.errors import ForebayError

log = structlog.get_logger(__name__)
PARSE_FAILED, VALIDATION_FAILED = "graphql_parse_failed", "graphql_validation_failed"
TOO_COSTLY = "graphql_too_costly"
NO_QUERY = "`query` is empty"
_TOO_DEEP = "The document is nested too deeply"


def request_error(message: str, code: str = VALIDATION_FAILED) -> GraphQLError:
    """An error of the whole request."""
    return GraphQLError(message, extensions={"code": code})


def coded(errors: Sequence[GraphQLError] | None) -> None:
    """Gives each error its code, and takes the words of what was not foreseen."""
    for error in errors or ():
        if not (error.extensions or {}).get("code"):
            _code(error)


def formatted(errors: Sequence[GraphQLError]) -> list[dict[str, Any]]:
    """The errors as a reply has them."""
    coded(errors)
    return [dict(error.formatted) for error in errors]


def _code(error: GraphQLError) -> None:
    original = error.original_error
    match original:
        case ForebayError() | OSError():
            shown = graphql_error(problem_of(original))
            error.message, error.extensions = shown["message"], _named(shown["extensions"])
        case MissingQueryError():
            error.message, error.extensions = NO_QUERY, {"code": PARSE_FAILED}
        case CannotGetOperationTypeError():
            error.message, error.extensions = original.as_http_error_reason(), {"code": VALIDATION_FAILED}
        case RecursionError():
            error.message, error.extensions = _TOO_DEEP, {"code": PARSE_FAILED}
        case None | GraphQLError() if isinstance(error, GraphQLSyntaxError):
            error.extensions = {"code": PARSE_FAILED}
        case None | GraphQLError():
            error.extensions = {"code": VALIDATION_FAILED}
        case _:
            log.error("graphql_failed", exc_info=original)
            error.message = problem_of(original).message
            error.extensions = {"code": "internal", "status": 500}


def _named(extensions: dict[str, Any]) -> dict[str, Any]:
    """The same, with the parameter as the graph names it."""
    param = extensions.get("param")
    return extensions if param is None or "." in param else {**extensions, "param": to_camel_case(param)}

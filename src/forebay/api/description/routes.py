"""``/openapi.json`` (OpenAPI 3.1, from the types that requests are read into) and ``/docs``, a page without CDN."""

from collections.abc import Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from forebay import __version__
from forebay.api.description.operation import FORM, NDJSON, Operation, Parameter
from forebay.api.description.operations import ERRORS, OPERATIONS
from forebay.api.errors import JSON
from forebay.api.scopes import refusals_of
from forebay.api.views import JobView

DESCRIPTION = "The reservoir in front of generative models. Paths work with and without `/v1`."
REFERENCE = "#/components/schemas/{name}"
ANY_TYPE = "*/*"
ANYWHERE = (414, 431, 503)  # an address or headers beyond the limits; the store, or room for bodies, is not to be had
OF_A_BODY = (408, 413)  # it came too slowly, or is too large
KEYS = {  # needed once a key exists
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_ANYTHING: dict[str, Any] = {}

Schemas = dict[type, dict[str, Any]]
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def document_of(app: FastAPI) -> dict[str, Any]:
    """The whole description: our table, and what FastAPI knows of the mounted routers."""
    types = _types(OPERATIONS)
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    known = dict(zip(types, schemas, strict=True))
    document = get_openapi(
        title=app.title, version=__version__, description=DESCRIPTION, routes=app.routes, openapi_version="3.1.0"
    )
    document.setdefault("paths", {})
    document["security"] = [{name: []} for name in KEYS]
    document.setdefault("components", {}).setdefault("schemas", {}).update(components)
    document["components"]["securitySchemes"] = KEYS
    for operation in OPERATIONS:
        document["paths"].setdefault(operation.path, {})[operation.method] = _described(operation, known)
    return document


async def openapi(request: Request) -> Response:
    """GET /openapi.json."""
    return Response(msgspec.json.encode(document_of(request.app)), media_type=JSON)


async def docs(_: Request) -> Response:
    """GET /docs."""
    page = files("forebay.api.description").joinpath("docs.html").read_text("utf-8")
    return HTMLResponse(page, headers={"content-security-policy": _PAGE_POLICY})


def _described(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    answer_types = (operation.answer_type, *operation.other_types)
    contents = [_content(operation.answer, answer_type, schemas) for answer_type in answer_types]
    answer = {"description": "Done", "content": {name: schema for one in contents for name, schema in one.items()}}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _operation_id(operation),
        "tags": [operation.tag],
        "responses": {str(operation.status): answer},
    }
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.request is not None:
        content = _content(operation.request, operation.media_type, schemas)
        if operation.is_form_too:
            content |= _content(operation.request, FORM, schemas)
        described["requestBody"] = {"required": operation.media_type != NDJSON, "content": content}
    unauthorised = refusals_of(operation.method.upper(), operation.path)
    if not unauthorised:
        described["security"] = []
    sent = () if operation.request is None else OF_A_BODY
    for status in sorted({*operation.refusals, *unauthorised, *ANYWHERE, *sent}):
        if status == HTTPStatus.NO_CONTENT:
            described["responses"][str(status)] = {"description": "Nothing more will come"}
            continue
        kind = JobView if status == HTTPStatus.ACCEPTED else operation.refusal or ERRORS
        content = {answer_type: {"schema": schemas[kind]} for answer_type in (JSON, *operation.other_types)}
        described["responses"][str(int(status))] = {"description": HTTPStatus(status).phrase, "content": content}
    return described


def _content(kind: Any, media_type: str, schemas: Schemas) -> dict[str, Any]:
    if kind is bytes:
        if media_type != JSON:
            return {media_type: {"schema": {"type": "string"}}}
        return {
            JSON: {"schema": _ANYTHING},
            ANY_TYPE: {"schema": _ANYTHING},
        }  # a model may answer with events, or speech
    if isinstance(kind, tuple):
        return {media_type: {"schema": {"anyOf": [schemas[one] for one in kind]}}}
    return {media_type: {"schema": schemas[kind]}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
    if parameter.is_json:
        described["content"] = {JSON: {"schema": described.pop("schema")}}
        return described
    match parameter.schema.get("type"):
        case "object":
            described |= {"style": "deepObject", "explode": True}
        case "array":
            described |= {"style": "form", "explode": False}
    return described


def _types(operations: Sequence[Operation]) -> list[type]:
    found: dict[type, None] = {ERRORS: None}
    for operation in operations:
        for kind in (operation.request, operation.answer, operation.refusal):
            found |= dict.fromkeys(kind if isinstance(kind, tuple) else (kind,))
    return [kind for kind in found if kind not in {None, bytes}]


def _operation_id(operation: Operation) -> str:
    words = operation.path.removeprefix("/v1").replace("{", "").replace("}", "").replace("-", "_").split("/")
    return "_".join([operation.method, *filter(None, words)])


ROUTES = [
    Route("/openapi.json", openapi, methods=["GET"]),
    Route("/docs", docs, methods=["GET"]),
]

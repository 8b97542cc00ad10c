"""``/v1/models``: exact names and routes, in OpenAI's shape or, for Anthropic's clients, in theirs."""

from collections.abc import Iterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.context import Api, api_of
from forebay.api.errors import JSON, is_anthropic
from forebay.api.times import rfc3339
from forebay.domain.errors import NotFound, RequestError

ROUTE_OWNER = "forebay"


class ModelView(msgspec.Struct, kw_only=True):
    """A model in OpenAI's shape; ``owned_by`` is the target that serves it."""

    id: str
    object: str = "model"
    created: int
    owned_by: str


class ModelList(msgspec.Struct, kw_only=True):
    """All models in OpenAI's shape."""

    object: str = "list"
    data: list[ModelView]


async def listed(request: Request) -> Response:
    """GET /v1/models."""
    api = api_of(request)
    models = list(known_models(api))
    if not is_anthropic(request):
        return _json(ModelList(data=models))
    data = [_anthropic(model) for model in models]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return _json({"data": data, "has_more": False, **ends})


async def read(request: Request) -> Response:
    """GET /v1/models/{id}: also a name that only a pattern matches."""
    api, name = api_of(request), request.path_params["id"]
    model = next((model for model in known_models(api) if model.id == name), None) or _matched(name, api)
    return _json(_anthropic(model) if is_anthropic(request) else model)


def known_models(api: Api) -> Iterator[ModelView]:
    """Each name once: targets' exact models, then routes."""
    seen: set[str] = set()
    created = int(api.started_at)
    named: list[tuple[str, str]] = []
    for spec in api.services.specs.values():
        exact = spec.exact_models or ((spec.model,) if spec.model else ())
        named += [(name, spec.name) for name in exact]
    named += [(route.name, ROUTE_OWNER) for route in api.services.routes]
    for name, owner in named:
        if name not in seen:
            seen.add(name)
            yield ModelView(id=name, created=created, owned_by=owner)


def _matched(name: str, api: Api) -> ModelView:
    try:
        resolution = api.services.resolver.resolve(target=None, model=name, endpoint=None)
    except RequestError as exc:
        message = f"There is no model {name!r}; GET /v1/models lists them"
        raise NotFound(message, param="model", code="model_not_found") from exc
    return ModelView(id=name, created=int(api.started_at), owned_by=resolution.candidates[0].target)


def _anthropic(model: ModelView) -> dict[str, str]:
    return {"type": "model", "id": model.id, "display_name": model.id, "created_at": rfc3339(model.created)}


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type=JSON)


ROUTES = [
    Route("/v1/models", listed, methods=["GET"]),
    Route("/v1/models/{id:path}", read, methods=["GET"]),
]

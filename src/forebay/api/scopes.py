"""Which scope each route needs: the one table. A route that is not in it needs `admin`, and a test fails."""

import copy
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from forebay.api.context import caller_of, require
from forebay.domain.errors import Forbidden
from forebay.domain.key import Scope

OPEN = ("/livez", "/readyz", "/v1/a2a/push")  # need no key: a balancer has none, an agent a token of its own
OPERATOR = ("/metrics",)  # tell of every tenant: for keys of the tenant `default` alone
EACH = None  # the route does several things, and asks `context.require` for each

SUBMIT, READ, ADMIN = Scope.SUBMIT, Scope.READ, Scope.ADMIN
SCOPES: Mapping[tuple[str, str], Scope | None] = {
    ("POST", "/v1/jobs"): SUBMIT,
    ("GET", "/v1/jobs"): READ,
    ("POST", "/v1/jobs/bulk"): SUBMIT,
    ("GET", "/v1/jobs/{id}"): READ,
    ("DELETE", "/v1/jobs/{id}"): ADMIN,
    ("POST", "/v1/jobs/{id}/cancel"): SUBMIT,
    ("POST", "/v1/jobs/{id}/retry"): SUBMIT,
    ("GET", "/v1/jobs/{id}/events"): READ,
    ("GET", "/v1/dead-letters"): READ,
    ("POST", "/v1/events"): SUBMIT,
    ("GET", "/v1/events"): READ,
    ("POST", "/v1/events/replay"): SUBMIT,
    ("GET", "/v1/rules"): READ,
    ("POST", "/v1/rules"): ADMIN,
    ("POST", "/v1/rules/test"): READ,
    ("GET", "/v1/rules/{name}"): READ,
    ("PUT", "/v1/rules/{name}"): ADMIN,
    ("DELETE", "/v1/rules/{name}"): ADMIN,
    ("POST", "/v1/rules/{name}/enable"): ADMIN,
    ("POST", "/v1/rules/{name}/disable"): ADMIN,
    ("GET", "/v1/pipelines"): READ,
    ("POST", "/v1/pipelines/{name}/runs"): SUBMIT,
    ("GET", "/v1/runs"): READ,
    ("GET", "/v1/runs/{id}"): READ,
    ("POST", "/v1/runs/{id}/cancel"): SUBMIT,
    ("POST", "/v1/runs/{id}/resume"): SUBMIT,
    ("GET", "/v1/runs/{id}/steps/{step}/{stream}"): READ,
    ("POST", "/v1/dead-letters/retry"): SUBMIT,
    ("POST", "/v1/webhook_endpoints"): ADMIN,
    ("GET", "/v1/webhook_endpoints"): READ,
    ("GET", "/v1/webhook_endpoints/{id}"): READ,
    ("POST", "/v1/webhook_endpoints/{id}"): ADMIN,
    ("DELETE", "/v1/webhook_endpoints/{id}"): ADMIN,
    ("POST", "/v1/webhook_endpoints/{id}/rotate_secret"): ADMIN,
    ("POST", "/v1/webhook_endpoints/{id}/test"): ADMIN,
    ("GET", "/v1/webhook_event_types"): READ,
    ("GET", "/v1/webhook_secret"): ADMIN,
    ("POST", "/v1/webhook_secret/rotate"): ADMIN,
    ("GET", "/v1/webhook_deliveries"): READ,
    ("POST", "/v1/webhook_deliveries/{id}/retry"): SUBMIT,
    ("POST", "/v1/files"): SUBMIT,
    ("GET", "/v1/files"): READ,
    ("GET", "/v1/files/{id}"): READ,
    ("GET", "/v1/files/{id}/content"): READ,
    ("DELETE", "/v1/files/{id}"): SUBMIT,
    ("POST", "/v1/batches"): SUBMIT,
    ("GET", "/v1/batches"): READ,
    ("GET", "/v1/batches/{id}"): READ,
    ("POST", "/v1/batches/{id}/cancel"): SUBMIT,
    ("POST", "/v1/batches/{id}/retry"): SUBMIT,
    ("GET", "/v1/batches/{id}/results"): READ,
    ("POST", "/v1/messages/batches"): SUBMIT,
    ("GET", "/v1/messages/batches"): READ,
    ("GET", "/v1/messages/batches/{id}"): READ,
    ("GET", "/v1/messages/batches/{id}/results"): READ,
    ("POST", "/v1/messages/batches/{id}/cancel"): SUBMIT,
    ("DELETE", "/v1/messages/batches/{id}"): SUBMIT,
    ("POST", "/v1/responses"): SUBMIT,
    ("GET", "/v1/responses/{id}"): READ,
    ("GET", "/v1/responses/{id}/input_items"): READ,
    ("POST", "/v1/responses/{id}/cancel"): SUBMIT,
    ("DELETE", "/v1/responses/{id}"): SUBMIT,
    ("POST", "/v1/videos"): SUBMIT,
    ("GET", "/v1/videos"): READ,
    ("GET", "/v1/videos/{id}"): READ,
    ("GET", "/v1/videos/{id}/content"): READ,
    ("DELETE", "/v1/videos/{id}"): SUBMIT,
    ("POST", "/v1/chat/completions"): SUBMIT,
    ("POST", "/v1/embeddings"): SUBMIT,
    ("POST", "/v1/messages"): SUBMIT,
    ("GET", "/v1/schedules"): READ,
    ("POST", "/v1/schedules/{name}/pause"): ADMIN,
    ("POST", "/v1/schedules/{name}/resume"): ADMIN,
    ("POST", "/v1/schedules/{name}/run"): SUBMIT,
    ("GET", "/v1/targets"): READ,
    ("GET", "/v1/models"): READ,
    ("GET", "/v1/models/{id:path}"): READ,
    ("POST", "/v1/keys"): ADMIN,
    ("GET", "/v1/keys"): ADMIN,
    ("GET", "/v1/keys/{id}"): ADMIN,
    ("DELETE", "/v1/keys/{id}"): ADMIN,
    **{(method, path): EACH for method in ("GET", "POST", "WEBSOCKET") for path in ("/graphql", "/v1/graphql")},
    ("WEBSOCKET", "/v1/ws"): EACH,
    ("GET", "/v1/ws"): EACH,
    ("GET", "/metrics"): READ,
    ("GET", "/docs"): READ,
    ("GET", "/openapi.json"): READ,
}
MODEL_ENDPOINTS = SUBMIT  # every POST that is no route


def scope_of(method: str, path: str) -> Scope | None:
    """What a call needs, by the path that a route was made with."""
    return SCOPES.get(("GET" if method == "HEAD" else method, path), ADMIN)


def refusals_of(method: str, path: str) -> tuple[HTTPStatus, ...]:
    """With which statuses a call may be refused because of who calls, by a path that is described."""
    if path in OPEN:
        return ()
    if method == "POST" and SCOPES.get((method, path), MODEL_ENDPOINTS) in {SUBMIT, EACH}:
        return HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS
    return HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN


def guarded(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    """The same routes, each of which asks for its scope first. Sockets ask when they know who calls."""
    return [_guarded(route) if isinstance(route, Route) and route.path not in OPEN else route for route in routes]


def _guarded(route: Route) -> Route:
    same = copy.copy(route)
    same.app = _Guard(route.app, route.path)
    return same


class _Guard:
    """A route's app behind its scope."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        caller = caller_of(Request(scope))
        if (needed := scope_of(scope["method"], self._path)) is not None:
            require(caller, needed)
        if self._path in OPERATOR and not caller.is_operator:
            raise Forbidden(f"{self._path} tells of every tenant: it needs a key of the tenant 'default'")
        await self._app(scope, receive, send)

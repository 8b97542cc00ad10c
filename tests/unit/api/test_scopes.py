"""Every route has a scope of its own choosing, in one table."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message

from forebay.api.context import CALLER
from forebay.api.description.routes import document_of
from forebay.api.scopes import OPEN, SCOPES, guarded, scope_of
from forebay.api.scopes_document import with_table
from forebay.api.server import HOT, ROUTES, SOCKETS
from forebay.domain.errors import Forbidden
from forebay.domain.key import Caller, Scope
from forebay.targets.a2a_push import PUSH_PATH

PAGE = Path(__file__).parents[3] / "docs/keys.md"
PLACES = {
    *((method, route.path) for route in ROUTES if isinstance(route, Route) for method in route.methods or ()),
    *(("WEBSOCKET", route.path) for route in ROUTES if isinstance(route, WebSocketRoute)),
    *(("WEBSOCKET", path) for path in SOCKETS),
    *HOT,
}
NEEDED = sorted(place for place in PLACES if place[0] != "HEAD" and place[1] not in OPEN)


@pytest.mark.parametrize("place", NEEDED, ids=" ".join)
def test_every_route_of_the_server_stands_in_the_table(place: tuple[str, str]) -> None:
    assert place in SCOPES


def test_the_table_has_no_route_that_the_server_has_not() -> None:
    assert {place for place in SCOPES if place not in PLACES} == set()


def test_a_route_that_is_not_in_the_table_needs_admin() -> None:
    assert scope_of("GET", "/v1/forgotten") is Scope.ADMIN


def test_a_head_needs_what_a_get_needs() -> None:
    assert scope_of("HEAD", "/v1/jobs") is Scope.READ


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_forgotten_route_is_behind_its_scope(scope: Scope) -> None:
    async def answer(_: Request) -> Response:
        return Response(b"done")

    [route] = guarded([Route("/v1/forgotten", answer, methods=["GET"])])
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    connection = {"type": "http", "method": "GET", "path": "/v1/forgotten", "headers": [], "query_string": b""}
    connection[CALLER] = Caller(scopes=frozenset({scope}))
    if scope is Scope.ADMIN:
        await route.handle(connection, receive, send)
        assert sent[0]["status"] == 200
    else:
        with pytest.raises(Forbidden, match="'admin'"):
            await route.handle(connection, receive, send)


def test_every_operation_that_needs_a_key_is_described_with_its_refusals() -> None:
    described = document_of(FastAPI())
    assert set(described["components"]["securitySchemes"]) == {"bearer", "header"}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            found = {"401", "403", "429"} & set(operation["responses"])
            if path in OPEN:
                assert (found, operation["security"]) == ({"401"} if path == PUSH_PATH else set(), [])
            elif method == "post" and SCOPES.get(("POST", path), Scope.SUBMIT) is Scope.SUBMIT:
                assert found == {"401", "403", "429"}, path
            else:
                assert found >= {"401", "403"}, path


def test_the_page_has_the_table_of_today() -> None:
    """Else: `make docs`."""
    page = PAGE.read_text()
    assert with_table(page) == page
    assert all(f"`{method} {path}`" in page for method, path in SCOPES)

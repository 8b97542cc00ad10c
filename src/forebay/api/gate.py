"""The gate that every request passes: its id, paths without ``/v1``, and browsers that another site sent here."""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forebay.api.context import REQUEST_ID
from forebay.api.errors import Problem, problem_response
from forebay.domain.ids import IdSource

OPEN_PATHS = ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/graphql")  # not under /v1
VERSION = "/v1"


class Gate:
    """ASGI middleware. ``is_loopback``: the server listens on loopback alone, so only loopback names can be its own."""

    def __init__(self, app: ASGIApp, *, ids: IdSource, is_loopback: bool) -> None:
        self._app = app
        self._ids = ids
        self._is_loopback = is_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._ids.new("req")
        scope[REQUEST_ID] = request_id
        path = scope["path"]
        if not path.startswith("/v1/"):
            scope["path"] = own_path(path)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await problem_response(refusal, Request(scope))(scope, receive, send_named)
            return
        await self._app(scope, receive, send_named)

    def _refusal(self, scope: Scope) -> Problem | None:
        """Why a request may come from a page that its user did not mean to give this server to."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._is_loopback and host and not is_loopback_host(host):
            return _forbidden(f"This server answers on loopback names only, not as {host!r} (DNS rebinding)")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return _forbidden(f"Requests from pages of another origin ({origin!r}) are refused")
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return _forbidden("Requests from pages of another site are refused")
        return None


def own_path(path: str) -> str:
    """The path under which a route stands: every API path works with and without ``/v1``."""
    if path == "/" or path == VERSION or path.startswith(VERSION + "/") or path.startswith(OPEN_PATHS):
        return path
    return VERSION + path


def is_loopback_host(host: str) -> bool:
    """Whether a ``Host`` header, or an address to listen on, names this machine's loopback."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _forbidden(message: str) -> Problem:
    return Problem(status=403, message=message, code="forbidden_origin")

"""The gate that every request passes: its id, paths without ``/v1``, browsers that another site sent here, and keys."""

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from itertools import count
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forebay.api.context import CALLER, REQUEST_ID, require
from forebay.api.errors import Problem, handle_error, handle_unforeseen, problem_of, problem_response
from forebay.api.keys.ring import KeyRing, presented_key
from forebay.api.scopes import OPEN, scope_of
from forebay.domain.errors import ForebayError
from forebay.domain.key import Scope as KeyScope

OPEN_PATHS = ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/graphql")  # not under /v1
VERSION = "/v1"
SINGLE = (b"host", b"authorization", b"x-api-key", b"origin", b"content-encoding")  # a proxy may have judged another
HOSTLESS = "1.0"  # the one version whose requests may have no Host. Source: RFC 9112, 3.2
MESSAGES = "/v1/messages"  # what stands below it speaks Anthropic's wire

Endpoint = Callable[[Request], Awaitable[Response]]


class Gate:
    """The outermost ASGI app. ``is_loopback``: the server listens on loopback alone: only such names can be its own.

    ``hot``: endpoints by method and path that are called at once, without the framework's layers (a third of the
    time of a submission); ``sockets``: WebSockets by path, likewise (a third of an idle one's memory).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: KeyRing,
        prefix: str,
        is_loopback: bool,
        hot: Mapping[tuple[str, str], Endpoint],
        sockets: Mapping[str, ASGIApp],
    ) -> None:
        self._app = app
        self._keys = keys
        self._prefix = prefix
        self._numbers = count()
        self._is_loopback = is_loopback
        self._sockets = sockets
        self._hot = {
            place: ServerErrorMiddleware(_direct(endpoint, scope_of(*place)), handler=handle_unforeseen)
            for place, endpoint in hot.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._take_socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"{self._prefix}{next(self._numbers):x}"
        scope[REQUEST_ID] = request_id
        path = scope["path"]
        if not path.startswith("/v1/"):
            path = scope["path"] = own_path(path)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        named = [(b"x-request-id", request_id.encode())]
        if path.startswith(MESSAGES) or b"anthropic-version" in headers:
            named.append((b"request-id", request_id.encode()))  # where Anthropic's clients look for it

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *named]
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is None and path not in OPEN:
            presented = presented_key(headers)
            scope[CALLER] = self._keys.known(presented)
            if scope[CALLER] is None:
                refusal = await self._look_up(presented, scope)
        if refusal is not None:
            await problem_response(refusal, Request(scope))(scope, receive, send_named)
            return
        app = self._hot.get((scope["method"], path), self._app)
        await app(scope, receive, send_named)

    async def _look_up(self, presented: str | None, scope: Scope) -> Problem | None:
        """Asks the store who calls. Returns why nobody does."""
        try:
            scope[CALLER] = await self._keys.authenticate(presented)
        except ForebayError as error:
            return problem_of(error)
        return None

    async def _take_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sockets tell who they are by themselves, after they were opened; from elsewhere none is opened."""
        if not scope["path"].startswith("/v1/"):
            scope["path"] = own_path(scope["path"])
        request_id = scope[REQUEST_ID] = f"{self._prefix}{next(self._numbers):x}"

        async def send_named(message: Message) -> None:
            if message["type"] == "websocket.http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        refusal = self._refusal(scope, dict(scope["headers"]))
        if refusal is not None:
            await problem_response(refusal, HTTPConnection(scope))(scope, receive, send_named)
            return
        await self._sockets.get(scope["path"], self._app)(scope, receive, send_named)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Problem | None:
        """Why no route may see a request: it can't be read, or comes from a page whose user did not mean to send it."""
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return Problem(status=400, message="The address has a NUL character (%00)", code="invalid_value")
        coding = headers.get(b"content-encoding", b"identity")
        if coding.lower() not in {b"identity", b""}:
            message = f"Send the body as it is: Content-Encoding {coding.decode('latin-1')!r} is not supported"
            return Problem(status=415, message=message, code="unsupported_content_encoding")
        if len(headers) < len(scope["headers"]) and (twice := _repeated(scope["headers"])):
            message = f"The header {twice!r} is there twice: which one counts is not clear"
            return Problem(status=400, message=message, code="invalid_value")
        host = headers.get(b"host", b"").decode("latin-1")
        if b"host" not in headers and scope["http_version"] != HOSTLESS:
            return Problem(status=400, message="A request of HTTP/1.1 names its Host", code="invalid_value")
        if self._is_loopback and host and not is_loopback_host(host):
            return _forbidden(f"This server answers on loopback names only, not as {host!r} (DNS rebinding)")
        origin = headers.get(b"origin")
        if origin is not None and _netloc(origin) != host.lower():
            return _forbidden("Requests from pages of another origin are refused")
        if headers.get(b"sec-fetch-site") == b"cross-site" and headers.get(b"sec-fetch-mode") != b"navigate":
            return _forbidden("Requests from pages of another site are refused")
        return None


def _repeated(headers: Iterable[tuple[bytes, bytes]]) -> str:
    names = [name for name, _ in headers]
    return next((name.decode() for name in SINGLE if names.count(name) > 1), "")


def own_path(path: str) -> str:
    """The path under which a route stands: every API path works with and without ``/v1``."""
    if path == "/" or path == VERSION or path.startswith(VERSION + "/") or path.startswith(OPEN_PATHS):
        return path
    return VERSION + path


@lru_cache(maxsize=256)
def is_loopback_host(host: str) -> bool:
    """Whether a ``Host`` header, or an address to listen on, names this machine's loopback."""
    try:
        name = "" if "@" in host else urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _direct(endpoint: Endpoint, needed: KeyScope | None) -> ASGIApp:
    """The endpoint as an ASGI app that asks for its scope, and answers what was expected to go wrong."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            if needed is not None:
                require(scope[CALLER], needed)
            response = await endpoint(request)
        except (ForebayError, HTTPException, ClientDisconnect) as error:
            response = await handle_error(request, error)
        await response(scope, receive, send)

    return app


def _netloc(origin: bytes) -> str | None:
    try:
        return urlsplit(origin.decode("latin-1")).netloc.lower() or None
    except ValueError:
        return None


def _forbidden(message: str) -> Problem:
    return Problem(status=403, message=message, code="forbidden_origin")

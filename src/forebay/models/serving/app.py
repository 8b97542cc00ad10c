"""The HTTP face of an adapter: the key, health, the list of models, and one call after the other."""

import asyncio
import hmac
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from forebay.models.serving.adapter import JSON, Abandoned, Adapter, Refused
from forebay.models.settings import ServerSettings

GONE = 499  # Source: nginx; the client went away, so nobody reads it


def build_app(adapter: Adapter, settings: ServerSettings) -> Starlette:
    """Returns the application."""
    turn = asyncio.Semaphore(1)
    pool = ThreadPoolExecutor(1, thread_name_prefix="compute")

    async def call(request: Request) -> Response:
        work = await adapter.read(request)
        gone = threading.Event()
        watching = asyncio.create_task(_tell_when_gone(request, gone))
        try:
            async with turn:
                if gone.is_set():  # while it waited for its turn
                    raise Abandoned
                answer = await asyncio.get_running_loop().run_in_executor(pool, work, lambda: not gone.is_set())
        finally:
            watching.cancel()
        return Response(answer.body, media_type=answer.media_type)

    async def models(_request: Request) -> Response:
        listed = {"object": "list", "data": [{"id": settings.name, "object": "model", "owned_by": "forebay"}]}
        return Response(msgspec.json.encode(listed), media_type=JSON)

    async def health(_request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type=JSON)

    return Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            Route("/v1/models", models, methods=["GET"]),
            Route(adapter.endpoint, call, methods=["POST"]),
        ],
        middleware=[Middleware(_KeyGate, settings.api_key)],
        exception_handlers={Refused: _refused, Abandoned: _abandoned, HTTPException: _unknown},
    )


class _KeyGate:
    """Asks for the key everywhere but at the health check."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/health":
            given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not hmac.compare_digest(given, self._expected):
                answer = _error(401, "the API key is missing or wrong", None, "invalid_api_key")
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _tell_when_gone(request: Request, gone: threading.Event) -> None:
    """The body has been read: what the server hears of next is that the client went away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone.set()


async def _abandoned(_request: Request, _error: Exception) -> Response:
    return Response(status_code=GONE)


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    return _error(error.status, error.message, error.param, error.code)


async def _unknown(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _error(status, f"this model does not serve {request.method} {request.url.path}", None, "not_found")


def _error(status: int, message: str, param: str | None, code: str) -> Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}
    return Response(msgspec.json.encode(body), status, media_type=JSON)

"""The server: the routes put together, and uvicorn around them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from forebay.api import graphql, health, metrics, models, targets
from forebay.api.a2a import routes as a2a
from forebay.api.batches import routes as batches
from forebay.api.context import Api
from forebay.api.depths import QueueDepths
from forebay.api.description import routes as openapi
from forebay.api.errors import handle_error, handle_unforeseen
from forebay.api.events import routes as event_routes
from forebay.api.events import rules as rule_routes
from forebay.api.files import routes as files
from forebay.api.gate import Gate, is_loopback_host
from forebay.api.inference import infer, model_endpoint
from forebay.api.jobs import dead_letters
from forebay.api.jobs import routes as jobs
from forebay.api.keys import routes as keys
from forebay.api.keys.records import is_any_key
from forebay.api.keys.ring import KeyRing
from forebay.api.limits import Room
from forebay.api.message_batches import routes as message_batches
from forebay.api.pipelines import routes as pipelines
from forebay.api.protocol import Protocol
from forebay.api.quotas import Quotas
from forebay.api.reading import JobReader
from forebay.api.responses import routes as responses
from forebay.api.schedules import routes as schedules
from forebay.api.scopes import guarded
from forebay.api.videos import routes as videos
from forebay.api.waiting import Waiting
from forebay.api.webhooks import deliveries as webhook_deliveries
from forebay.api.webhooks import endpoints as webhook_endpoints
from forebay.api.webhooks import secret as webhook_secret
from forebay.api.websocket import routes as websocket
from forebay.api.websocket.protocol import PING_SECONDS, SocketProtocol
from forebay.app import System
from forebay.domain.errors import ConfigurationError, ForebayError

LOOPBACK = "127.0.0.1"
KEEP_ALIVE_SECONDS = 75  # longer than clients keep idle connections, so that it is they who close them
BACKLOG = 2048
STOP_SECONDS = 10  # for replies under way; waits end at once
NO_TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False)  # the framework's own; ours is at /metrics
ROUTES = [
    *jobs.ROUTES,
    *websocket.ROUTES,
    *files.ROUTES,
    *batches.ROUTES,
    *responses.ROUTES,
    *videos.ROUTES,
    *message_batches.ROUTES,
    *dead_letters.ROUTES,
    *event_routes.ROUTES,
    *rule_routes.ROUTES,
    *pipelines.ROUTES,
    *schedules.ROUTES,
    *webhook_endpoints.ROUTES,
    *webhook_deliveries.ROUTES,
    *webhook_secret.ROUTES,
    *a2a.ROUTES,
    *graphql.ROUTES,
    *targets.ROUTES,
    *keys.ROUTES,
    *models.ROUTES,
    *health.ROUTES,
    *metrics.ROUTES,
    *openapi.ROUTES,
]
HOT = {
    ("POST", "/v1/jobs"): jobs.submit,
    ("POST", "/v1/chat/completions"): infer,
    ("POST", "/v1/responses"): responses.create,
    ("POST", "/v1/embeddings"): infer,
    ("POST", "/v1/messages"): infer,
}
SOCKETS = {"/v1/ws": websocket.socket, **graphql.SOCKETS}
SOCKET_MARGIN_BYTES = 64 * 1024  # of a message around a job's body


def create_app(system: System, *, host: str = LOOPBACK) -> FastAPI:
    """Makes the ASGI app of an opened system. ``host`` is where it will listen: loopback answers to no other name."""
    services = system.services
    api = Api(
        system=system,
        reader=JobReader(services.jobs),
        waiting=Waiting(services.jobs),
        depths=QueueDepths(services.jobs.depths),
        keys=KeyRing(services.records, services.clock, is_open=is_loopback_host(host)),
        quotas=Quotas(services),
        room=Room(system.settings.max_bodies_bytes),
        started_at=services.clock.now(),
    )
    app = _Application(
        title="Forebay", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan, telemetry=NO_TELEMETRY
    )
    app.state.api = api
    app.state.is_loopback = is_loopback_host(host)
    app.router.routes[:0] = guarded(ROUTES)
    app.router.redirect_slashes = False
    app.router.default = model_endpoint
    for expected in (ForebayError, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(expected, handle_error)
    app.add_exception_handler(Exception, handle_unforeseen)
    return app


class Draining:
    """How a server is asked to let its clients go: ``asked`` is the caller's to set, ``is_quiet`` is told when nobody
    waits any more for a job that runs.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.is_quiet = asyncio.Event()


async def serve(
    system: System,
    *,
    host: str = LOOPBACK,
    port: int = 8700,
    ready: Callable[[str], None] | None = None,
    draining: Draining | None = None,
) -> None:
    """Serves until cancelled, then lets replies under way finish. ``ready`` is told the URL; signals are the caller's.
    Once ``draining`` was asked for, nobody waits any more but for jobs that run, wherever they do.

    Raises: ConfigurationError: the address can't be listened on, or others reach it and no API key exists.
    """
    listener = _listen(host, port)
    try:
        address = listener.getsockname()[0]
        place = address if is_loopback_host(host) else host  # a name of loopback may stand for another address
        await _refuse_strangers(place, system)
        app = create_app(system, host=place)
    except BaseException:
        listener.close()
        raise
    server = _Server(
        uvicorn.Config(
            app,
            http=Protocol,
            loop="none",
            ws=SocketProtocol,  # where there is a socket; elsewhere an upgrade is a GET like any other
            ws_max_size=system.settings.max_body_bytes + SOCKET_MARGIN_BYTES,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            ws_per_message_deflate=False,  # 40 KB and more a socket
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # we read no client's address
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            backlog=BACKLOG,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    announcing = asyncio.create_task(_announce(draining or Draining(), app.state.api.waiting), name="draining")
    try:
        await server.wait_started(serving)
        if ready is not None:
            ready(_url(listener))
        await asyncio.shield(serving)
    finally:
        announcing.cancel()
        app.state.api.waiting.close()
        server.should_exit = True
        await _finished(serving)


class _Application(FastAPI):
    """FastAPI with the gate around all of its layers."""

    def build_middleware_stack(self) -> ASGIApp:
        api: Api = self.state.api
        return Gate(
            super().build_middleware_stack(),
            keys=api.keys,
            prefix=api.services.ids.new("req"),
            is_loopback=self.state.is_loopback,
            hot=HOT,
            sockets=SOCKETS,
        )


class _Server(uvicorn.Server):
    """uvicorn without handlers of signals, which are the caller's, and with a signal that it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._has_started = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._has_started.set()

    async def wait_started(self, serving: asyncio.Task[None]) -> None:
        """Returns when connections are accepted, or when that failed."""
        started = asyncio.create_task(self._has_started.wait())
        await asyncio.wait({started, serving}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    waiting: Waiting = app.state.api.waiting
    listening = asyncio.create_task(waiting.run(), name="waiting")
    try:
        yield
    finally:
        waiting.close()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        waiting.end()
        await app.state.api.depths.close()


async def _announce(draining: Draining, waiting: Waiting) -> None:
    await draining.asked.wait()
    waiting.drain()
    await waiting.emptied()
    draining.is_quiet.set()


async def _finished(serving: asyncio.Task[None]) -> None:
    """Waits for the server's end even while the caller is being cancelled again."""
    while not serving.done():
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            if serving.done():
                return


async def _refuse_strangers(place: str, system: System) -> None:
    if is_loopback_host(place) or await is_any_key(system.services.records):
        return
    raise ConfigurationError(
        f"Whoever reaches {place} could send work: there is no API key yet. Make one with "
        "`forebay keys create --scope admin --scope submit --scope read`, or listen on 127.0.0.1"
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        [family, kind, protocol, _, address], *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as exc:
        raise ConfigurationError(f"Can't listen on {host}:{port}: {exc.strerror or exc}; name a free --port") from exc
    listener.setblocking(False)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"

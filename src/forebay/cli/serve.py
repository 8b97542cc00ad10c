"""`forebay serve`: API and workers in one command."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Annotated

import typer

from forebay.api.server import Draining
from forebay.api.server import serve as serve_api
from forebay.app import System
from forebay.cli.failures import DONE, INTERRUPTED, say
from forebay.cli.guard import WorkerGuard
from forebay.cli.logging import set_up_logging
from forebay.cli.options import GlobalOptions, options_of, refuse_server
from forebay.cli.service import STOPPING, StopSignals, opened_system, run_on_uvloop, spare_the_heap
from forebay.domain.errors import ConfigurationError
from forebay.engine.scheduler import scheduling
from forebay.settings import Settings

DRAIN_SECONDS = 30.0  # a worker's own: for calls that run elsewhere and are awaited here

Drain = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """``workers``: 0 none, 1 inside this process, more: processes of their own. ``arguments`` are theirs."""

    host: str
    port: int
    workers: int
    arguments: tuple[str, ...]
    as_json: bool


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("serve", epilog="Example: forebay serve --config forebay.yaml --port 8700")(serve)


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)] = 8700,
    workers: Annotated[int, typer.Option(help="Worker processes; 1 runs inside the server.", min=1, max=256)] = 1,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Serve the API alone.")] = False,
) -> None:
    """Serve the API, with workers. SIGTERM drains: replies and calls under way finish, the rest is handed back."""
    options = options_of(context)
    refuse_server(options, "serve")
    if no_worker and workers > 1:
        raise ConfigurationError("--no-worker and --workers exclude each other")
    settings = options.settings()
    set_up_logging("debug" if options.debug else settings.log_level)
    chosen = ServeOptions(
        host=host,
        port=port,
        workers=0 if no_worker else workers,
        arguments=_worker_arguments(options),
        as_json=options.as_json,
    )
    raise typer.Exit(run_on_uvloop(_serve(settings, chosen)))


async def _serve(settings: Settings, options: ServeOptions) -> int:
    async with (
        StopSignals(lambda: say(STOPPING)) as stop,
        opened_system(settings, stop.asked) as system,
        AsyncExitStack() as stack,
    ):
        if system is None:
            return INTERRUPTED if stop.interrupted else DONE
        await stack.enter_async_context(scheduling(system.services, is_server=True))
        drain: Drain | None = None
        if options.workers == 1:
            worker = await stack.enter_async_context(system.worker())
            drain = worker.drain
        elif options.workers > 1:
            guard = WorkerGuard(options.workers, options.arguments)
            stop.on_second = guard.kill
            await stack.enter_async_context(guard)
            drain = guard.drain
        await _serve_until(stop.asked, system, options, drain)
    return INTERRUPTED if stop.interrupted else DONE


async def _serve_until(asked: asyncio.Event, system: System, options: ServeOptions, drain: Drain | None) -> None:
    """Serves until asked; then drains the workers first, because clients wait for what these still answer, and lets
    clients have what runs on other machines.
    """
    draining = Draining()

    def ready(url: str) -> None:
        typer.echo(f'{{"url": "{url}"}}' if options.as_json else f"forebay at {url}")
        spare_the_heap()

    api = serve_api(system, host=options.host, port=options.port, ready=ready, draining=draining)
    serving = asyncio.create_task(api, name="api")
    stopping = asyncio.create_task(asked.wait(), name="stop")
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            draining.asked.set()
            until = asyncio.get_running_loop().time() + DRAIN_SECONDS
            if drain is not None:
                await drain()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await draining.is_quiet.wait()
    finally:
        stopping.cancel()
        serving.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)
    if not serving.cancelled() and (error := serving.exception()) is not None:
        raise error


def _worker_arguments(options: GlobalOptions) -> tuple[str, ...]:
    arguments = [] if options.config is None else ["--config", options.config]
    return (*arguments, "--debug") if options.debug else tuple(arguments)

"""`forebay worker`: a worker alone, on a shared store."""

import asyncio
import os
from contextlib import nullcontext
from typing import Annotated

import typer

from forebay.app import System
from forebay.cli.failures import DONE, INTERRUPTED, say
from forebay.cli.logging import set_up_logging
from forebay.cli.options import options_of, refuse_server
from forebay.cli.service import STOPPING, StopSignals, opened_system, run_on_uvloop, spare_the_heap
from forebay.domain.errors import ConfigurationError
from forebay.engine.counts import published
from forebay.engine.scheduler import scheduling
from forebay.settings import Settings

STDIN = 0


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("worker", epilog="Example: forebay worker --targets gpt,claude")(worker)


def worker(
    context: typer.Context,
    targets: Annotated[
        str | None, typer.Option("--targets", metavar="A,B", help="Serve these targets alone.", show_default="all")
    ] = None,
    guarded: Annotated[bool, typer.Option("--guarded", hidden=True, help="Stop when stdin ends.")] = False,
) -> None:
    """Run a worker alone, on the configured store.

    SIGTERM drains it: calls under way finish, the rest is handed back.
    """
    common = options_of(context)
    refuse_server(common, "worker")
    settings = common.settings()
    set_up_logging("debug" if common.debug else settings.log_level)
    chosen = chosen_targets(targets, settings)
    raise typer.Exit(run_on_uvloop(_work(settings, chosen, is_guarded=guarded)))


def chosen_targets(names: str | None, settings: Settings) -> frozenset[str] | None:
    """Reads ``--targets``. Raises: ConfigurationError: no such target."""
    if names is None:
        return None
    chosen = frozenset(name.strip() for name in names.split(",") if name.strip())
    known = [spec.name for spec in settings.targets]
    for name in sorted(chosen):
        if name not in known:
            raise ConfigurationError(f"No target is named {name!r}; there are: {', '.join(known) or 'none'}")
    return chosen


async def _work(settings: Settings, chosen: frozenset[str] | None, *, is_guarded: bool) -> int:
    async with StopSignals(lambda: say(STOPPING)) as stop:
        if is_guarded:
            asyncio.get_running_loop().add_reader(STDIN, _stop_at_the_end, stop.asked)
        async with opened_system(settings, stop.asked) as system:
            if system is not None:
                scheduled = nullcontext() if is_guarded else scheduling(system.services)  # its server does
                async with scheduled:
                    await _serve(system, chosen, stop.asked)
    return INTERRUPTED if stop.interrupted else DONE


async def _serve(system: System, chosen: frozenset[str] | None, asked: asyncio.Event) -> None:
    async with (
        published(system.services),  # around the worker: what ends while it drains is counted too
        system.worker(system.worker_options(targets=chosen)) as process,
    ):
        say(f"worker {process.worker.id} serves {', '.join(process.lanes.by_name) or 'no target'}")
        spare_the_heap()
        await asked.wait()


def _stop_at_the_end(asked: asyncio.Event) -> None:
    if os.read(STDIN, 1024):
        return
    if asked.is_set():  # the server ended while it waited for us: a second Ctrl-C, which is meant for all
        os._exit(INTERRUPTED)
    asyncio.get_running_loop().remove_reader(STDIN)
    asked.set()

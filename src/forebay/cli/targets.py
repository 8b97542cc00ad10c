"""`forebay targets`: what is declared, with its queues and limits; and one tiny request to each."""

import asyncio
import os
import time
from typing import Annotated, Any

import msgspec
import typer

from forebay.api.targets import target_view
from forebay.app import open_system
from forebay.cli.failures import DONE, FAILED
from forebay.cli.logging import set_up_logging
from forebay.cli.options import options_of, refuse_server
from forebay.cli.remote import fetch, moment, print_json, print_table
from forebay.domain.errors import ConfigurationError, ForebayError
from forebay.domain.lane import target_queue
from forebay.ports import Target
from forebay.settings import Settings

CHECK_SECONDS = 60.0

app = typer.Typer(
    no_args_is_help=True, help="Where work is sent: list, check.", epilog="Example: forebay targets check gpt"
)


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="targets")


@app.command("list", epilog="Example: forebay targets list")
def list_(context: typer.Context) -> None:
    """List the targets with their limits and queues; with --server those of a running server."""
    options = options_of(context)
    if options.server or os.environ.get("FOREBAY_SERVER"):
        answer = fetch(options, "GET", "/v1/targets")
    else:
        answer = asyncio.run(_listed(options.settings()))
    if options.as_json:
        print_json(answer)
        return
    rows = [
        (
            target["name"],
            target["type"],
            ", ".join(target["models"]) or None,
            _limits(target["limits"]),
            _windows(target),
            target["queued"],
            target["running"],
            target["dead_letters"],
        )
        for target in msgspec.json.decode(answer)["data"]
    ]
    columns = ("target", "type", "models", "limits", "windows", "queued", "running", "dead letters")
    print_table(columns, rows, empty="No targets are configured.")


@app.command(epilog="Example: forebay targets check gpt")
def check(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", show_default="all")] = None,
) -> None:
    """Send one tiny request to each target. Exit 1 if one does not answer."""
    options = options_of(context)
    refuse_server(options, "targets check")
    settings = options.settings()
    set_up_logging("debug" if options.debug else "warning")
    reports = asyncio.run(_checked(settings, names))
    if options.as_json:
        print_json(msgspec.json.encode({"object": "list", "data": reports}))
    else:
        rows = [(one["name"], "ok" if one["ok"] else "FAIL", one["seconds"], one["message"]) for one in reports]
        print_table(("target", "", "seconds", "answer"), rows, empty="No targets are configured.")
    raise typer.Exit(DONE if all(one["ok"] for one in reports) else FAILED)


async def _listed(settings: Settings) -> bytes:
    async with open_system(settings) as system:
        depths = {depth.queue: depth for depth in await system.services.jobs.depths()}
        specs = list(system.services.specs.values())  # with the slots of local models
    views = [target_view(spec, depths.get(target_queue(spec.name)), time.time()) for spec in specs]
    return msgspec.json.encode({"object": "list", "data": views})


async def _checked(settings: Settings, names: list[str] | None) -> list[dict[str, Any]]:
    async with open_system(settings) as system:
        targets = system.services.targets
        for name in names or []:
            if name not in targets:
                raise ConfigurationError(f"No target is named {name!r}; there are: {', '.join(targets) or 'none'}")
        return list(await asyncio.gather(*[_check(targets[name]) for name in names or targets]))


async def _check(target: Target) -> dict[str, Any]:
    started_at = time.monotonic()
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            message, is_ok = await target.check(), True
    except TimeoutError:
        message, is_ok = f"no answer within {CHECK_SECONDS:g} s", False
    except ForebayError as error:
        message, is_ok = str(error), False
    seconds = round(time.monotonic() - started_at, 3)
    return {"name": target.name, "ok": is_ok, "seconds": seconds, "message": message}


def _windows(target: dict[str, Any]) -> str | None:
    closed = f"closed until {moment(target['opens_at'])}: " if target["opens_at"] else ""
    return closed + ", ".join(target["windows"]) if target["windows"] else None


def _limits(limits: dict[str, Any]) -> str:
    units = {"concurrency": "at once", "requests_per_minute": "requests/min", "tokens_per_minute": "tokens/min"}
    return (
        ", ".join(f"{limits[name]:g} {unit}" for name, unit in units.items() if limits[name] is not None) or "learned"
    )

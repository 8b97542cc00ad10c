"""`forebay store`: the configured store's layout, and whether what it holds agrees with itself; beside it, moving."""

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from forebay.app import SystemClock, open_system
from forebay.cli import store_transfer
from forebay.cli.failures import DONE, FAILED
from forebay.cli.logging import set_up_logging
from forebay.cli.options import GlobalOptions, options_of, refuse_server
from forebay.cli.remote import print_json
from forebay.settings import Settings, without_password
from forebay.stores.drivers import store_driver
from forebay.stores.sqlite import open_store

CURRENT = "current"


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="The configured store: its layout, its consistency, and moving it.", no_args_is_help=True)
    group.command("migrate", epilog="Example: forebay store migrate --check")(migrate)
    group.command("check", epilog="Example: forebay store check --config forebay.yaml")(check)
    store_transfer.register(group)
    app.add_typer(group, name="store")


def migrate(
    context: typer.Context,
    is_check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 if there is something to migrate.")
    ] = False,
) -> None:
    """Make the store, or bring its tables to this version's layout. Safe while others run it, and while workers run."""
    options = options_of(context)
    settings = _settings(options, "store migrate")
    if settings.store.path is not None:
        found = asyncio.run(_migrate_file(settings, is_check=is_check))
    else:
        found = asyncio.run(_migrate_database(settings.store.url, is_check=is_check))
    if options.as_json:
        print_json(msgspec.json.encode(found))
    else:
        typer.echo(_sentence(found))
    raise typer.Exit(DONE if found["state"] == CURRENT else FAILED)


def check(context: typer.Context) -> None:
    """Open the store and see whether its tables agree with each other. Exit 1 if they don't."""
    options = options_of(context)
    settings = _settings(options, "store check")
    problems = asyncio.run(_problems(settings))
    if options.as_json:
        print_json(msgspec.json.encode({"object": "store.check", "problems": problems}))
    else:
        for problem in problems or ["nothing wrong"]:
            typer.echo(problem)
    raise typer.Exit(FAILED if problems else DONE)


def _settings(options: GlobalOptions, command: str) -> Settings:
    refuse_server(options, command)
    set_up_logging("debug" if options.debug else "error")
    return options.settings()


async def _migrate_database(url: str, *, is_check: bool) -> dict[str, Any]:
    driver = store_driver("postgresql")
    place = driver.read_place(url)
    before = await driver.read_layout(place)
    if not is_check:
        await driver.migrate(place)
    after = await driver.read_layout(place)
    if after.state in ("newer", "foreign"):
        driver.refuse_unless_current(place, after)
    return {
        "object": "store.layout",
        "store": without_password(url),
        "state": str(after.state),
        "before": before.version,
        "layout": after.version,
        "newest": after.newest,
    }


async def _migrate_file(settings: Settings, *, is_check: bool) -> dict[str, Any]:
    """A file migrates itself when it is opened; where it doesn't exist, first use makes it."""
    path = settings.store.path
    if path is not None and (path.exists() or not is_check):
        await (await open_store(path, clock=SystemClock())).close()
    return {"object": "store.layout", "store": settings.store.url, "state": CURRENT}


async def _problems(settings: Settings) -> list[str]:
    if settings.store.path is None:
        driver = store_driver("postgresql")
        found: list[str] = await driver.check(driver.read_place(settings.store.url))
        return found
    async with open_system(settings) as system:
        await system.services.jobs.depths()
    return []


def _sentence(found: dict[str, Any]) -> str:
    if "layout" not in found:
        return f"{found['store']} is up to date: a file migrates itself when it is opened"
    if found["state"] != CURRENT:
        return f"{found['store']} has layout {found['layout']} and needs {found['newest']}: run `forebay store migrate`"
    was = "" if found["before"] == found["layout"] else f", and had {found['before'] or 'none'}"
    return f"{found['store']} has layout {found['layout']}, the newest{was}"

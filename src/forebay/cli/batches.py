"""`forebay batches`: files of requests on a server, as OpenAI's batches."""

import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import msgspec
import typer

from forebay.cli.failures import DONE, FAILED, say
from forebay.cli.jobs import pairs
from forebay.cli.options import GlobalOptions, options_of
from forebay.cli.remote import fetch, moment, over_http, print_fields, print_json, print_table
from forebay.client.transport import Transport
from forebay.connectors.drafts import replacing
from forebay.domain.errors import ConfigurationError

TERMINAL = ("completed", "failed", "expired", "cancelled")
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0

app = typer.Typer(
    no_args_is_help=True,
    help="Files of requests on a server: create, list, get, wait, results, cancel, retry.",
    epilog="Example: forebay batches create requests.jsonl --wait",
)

BatchId = Annotated[str, typer.Argument(metavar="ID")]


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="batches")


@app.command(epilog="Example: forebay batches create requests.jsonl --wait")
def create(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Lines of custom_id, method, url, body.")],
    endpoint: Annotated[str | None, typer.Option(show_default="the first line's url")] = None,
    window: Annotated[str, typer.Option(metavar="DURATION", help="The completion window, up to 30d.")] = "24h",
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end.")] = False,
) -> None:
    """Upload a file of requests and make a batch of it."""
    options = options_of(context)
    url = endpoint or _first_url(file)
    uploaded = over_http(options, lambda transport: _upload(transport, file))
    body: dict[str, Any] = {"input_file_id": uploaded["id"], "endpoint": url, "completion_window": window}
    if metadata:
        body["metadata"] = pairs(metadata)
    answer = fetch(options, "POST", "/v1/batches", body=body, headers={"Idempotency-Key": uuid.uuid4().hex})
    if wait:
        _conclude(options, _waited(options, _view(answer)["id"], None))
    _show(options, answer)


@app.command("list", epilog="Example: forebay batches list --limit 50")
def list_(
    context: typer.Context,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this batch.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
) -> None:
    """List batches, newest first."""
    options = options_of(context)
    answer = fetch(options, "GET", "/v1/batches", params={"after": after, "limit": limit})
    if options.as_json:
        print_json(answer)
        return
    rows = [
        (batch["id"], batch["status"], _counts(batch), batch["endpoint"], moment(batch["created_at"]))
        for batch in _view(answer)["data"]
    ]
    print_table(("id", "status", "lines", "endpoint", "created"), rows, empty="No batches.")


@app.command(epilog="Example: forebay batches get batch_01k… --json")
def get(context: typer.Context, batch_id: BatchId) -> None:
    """Show a batch."""
    options = options_of(context)
    _show(options, fetch(options, "GET", f"/v1/batches/{batch_id}"))


@app.command(epilog="Example: forebay batches wait batch_01k… --timeout 3600")
def wait(
    context: typer.Context,
    batch_id: BatchId,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", min=0, help="Give up after so long.")] = None,
) -> None:
    """Wait until a batch has ended. Exit 1 if it or any of its lines failed, or the time ran out."""
    options = options_of(context)
    _conclude(options, _waited(options, batch_id, timeout))


@app.command(epilog="Example: forebay batches results batch_01k… -o results.jsonl")
def results(
    context: typer.Context,
    batch_id: BatchId,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", show_default="stdout")] = None,
) -> None:
    """Fetch a batch's results, also while it runs: one JSON line for each request that is done."""
    options = options_of(context)
    path = f"/v1/batches/{batch_id}/results"
    if output is None:
        over_http(options, lambda transport: _pour(transport, path, None))
        return
    with replacing(output) as draft:
        over_http(options, lambda transport: _pour(transport, path, draft))


@app.command(epilog="Example: forebay batches cancel batch_01k…")
def cancel(context: typer.Context, batch_id: BatchId) -> None:
    """Cancel a batch; what was paid for is published."""
    options = options_of(context)
    _show(options, fetch(options, "POST", f"/v1/batches/{batch_id}/cancel"))


@app.command(epilog="Example: forebay batches retry batch_01k…")
def retry(context: typer.Context, batch_id: BatchId) -> None:
    """Make a new batch of an ended one's failed, expired and cancelled lines."""
    options = options_of(context)
    _show(options, fetch(options, "POST", f"/v1/batches/{batch_id}/retry"))


def _waited(options: GlobalOptions, batch_id: str, timeout: float | None) -> bytes:
    until = None if timeout is None else time.monotonic() + timeout
    pause = FIRST_PAUSE_SECONDS
    while True:
        answer = fetch(options, "GET", f"/v1/batches/{batch_id}")
        if _view(answer)["status"] in TERMINAL or (until is not None and time.monotonic() >= until):
            return answer
        time.sleep(pause if until is None else max(0.0, min(pause, until - time.monotonic())))
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


def _conclude(options: GlobalOptions, answer: bytes) -> None:
    """Shows a batch that was waited for, and exits by how it stands."""
    _show(options, answer)
    batch = _view(answer)
    if batch["status"] not in TERMINAL:
        say(f"{batch['id']} is still {batch['status']}: {_counts(batch)}")
    failed = (batch.get("request_counts") or {}).get("failed", 0)
    raise typer.Exit(DONE if batch["status"] == "completed" and not failed else FAILED)


async def _upload(transport: Transport, file: Path) -> Mapping[str, Any]:
    with file.open("rb") as stream:
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", stream, filename=file.name, content_type="application/jsonl")
        answer = await transport.send("POST", "/v1/files", data=form)
    return _view(answer)


async def _pour(transport: Transport, path: str, draft: Path | None) -> None:
    stream = sys.stdout.buffer if draft is None else draft.open("wb")
    try:
        async for chunk in transport.stream(path):
            stream.write(chunk)
        stream.flush()
    finally:
        if draft is not None:
            stream.close()


def _first_url(file: Path) -> str:
    """Raises: ConfigurationError: no such file, or its first line is no request."""
    try:
        with file.open("rb") as stream:
            line = stream.readline()
        url = msgspec.json.decode(line)["url"]
    except OSError as exc:
        raise ConfigurationError(f"{str(file)!r}: {exc.strerror}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as exc:
        raise ConfigurationError(f"{str(file)!r}: the first line has no url; name --endpoint") from exc
    return str(url)


def _show(options: GlobalOptions, answer: bytes) -> None:
    if options.as_json:
        print_json(answer)
        return
    batch = dict(_view(answer))
    for name in [name for name in batch if name.endswith("_at")]:
        batch[name] = moment(batch[name]) or None
    batch["lines"] = _counts(batch)
    for name in ("object", "request_counts"):
        batch.pop(name, None)
    print_fields(batch)


def _counts(batch: Mapping[str, Any]) -> str:
    counts = batch.get("request_counts") or {}
    failed = f", {counts['failed']} failed" if counts.get("failed") else ""
    return f"{counts.get('completed', 0)} of {counts.get('total', 0)}{failed}"


def _view(answer: bytes) -> Mapping[str, Any]:
    view: Mapping[str, Any] = msgspec.json.decode(answer)
    return view

"""`forebay events`: send events to a server, see which rules they matched, and send kept ones through again."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from forebay.cli.failures import DONE, FAILED
from forebay.cli.options import options_of
from forebay.cli.remote import fetch, moment, print_json, print_table
from forebay.domain.errors import ConfigurationError

PAGE = 1000

app = typer.Typer(
    no_args_is_help=True,
    help="Events at a server: send, list, replay.",
    epilog="Example: forebay events list --unmatched",
)

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="JSON: one event or an array; - reads stdin.")]


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="events")


@app.command(epilog="Example: forebay events send event.json")
def send(context: typer.Context, file: FileArgument) -> None:
    """Publish an event or several; tells the rules that each matched."""
    options = options_of(context)
    answer = fetch(options, "POST", "/v1/events", body=read_json(file))
    receipts = msgspec.json.decode(answer)["data"]
    if options.as_json:
        print_json(answer)
    else:
        print_table(("event", "rule", "job"), [row for one in receipts for row in _rows(one)], empty="No events.")
    raise typer.Exit(FAILED if any("error" in one for one in receipts) else DONE)


@app.command("list", epilog="Example: forebay events list --unmatched --limit 100")
def list_(
    context: typer.Context,
    unmatched: Annotated[bool, typer.Option("--unmatched", help="Those alone that no rule matched.")] = False,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this record.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE)] = 20,
) -> None:
    """List the events that are kept, newest first."""
    options = options_of(context)
    filters = {"unmatched": "true" if unmatched else None, "after": after, "limit": limit}
    answer = fetch(options, "GET", "/v1/events", params=filters)
    if options.as_json:
        print_json(answer)
        return
    rows = [
        (
            event["record_id"],
            event["source"],
            event["type"],
            event["id"],
            moment(event["received_at"]),
            " ".join(one["rule"] for one in event["matched"]) or None,
        )
        for event in msgspec.json.decode(answer)["data"]
    ]
    print_table(("record", "source", "type", "id", "received", "rules"), rows, empty="No events.")


@app.command(epilog="Example: forebay events replay --unmatched")
def replay(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[RECORD]...", show_default=False)] = None,
    unmatched: Annotated[bool, typer.Option("--unmatched", help="All that no rule has matched.")] = False,
) -> None:
    """Send kept events through the present rules; a rule that an event has met does not run twice."""
    options = options_of(context)
    if bool(ids) == unmatched:
        raise ConfigurationError("Say which: records, or --unmatched")
    answer = fetch(options, "POST", "/v1/events/replay", body={"ids": ids} if ids else {"unmatched": True})
    if options.as_json:
        print_json(answer)
        return
    receipts = msgspec.json.decode(answer)["data"]
    print_table(("event", "rule", "job"), [row for one in receipts for row in _rows(one)], empty="No events.")


def read_json(file: str) -> Any:
    """Reads a JSON file, or stdin. Raises: ConfigurationError."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"Can't read {file}: {exc.strerror}") from exc
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{file} is not valid JSON: {exc}") from exc


def _rows(receipt: dict[str, Any]) -> list[tuple[str | None, ...]]:
    if "error" in receipt:
        return [(receipt.get("id"), f"refused: {receipt['error']['message']}", None)]
    matched = [(receipt["id"], one["rule"], one["job_id"]) for one in receipt["matched"]]
    return [*matched] or [(receipt["id"], None, None)]

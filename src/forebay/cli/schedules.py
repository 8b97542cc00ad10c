"""`forebay schedules`: a server's schedules: when they fire, pause and resume one, fire one now."""

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from forebay.cli.options import options_of
from forebay.cli.remote import fetch, moment, print_json, print_table

app = typer.Typer(
    no_args_is_help=True,
    help="Schedules at a server: list, pause, resume, run.",
    epilog="Example: forebay schedules list",
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="schedules")


@app.command("list", epilog="Example: forebay schedules list")
def list_(context: typer.Context) -> None:
    """List what starts the pipelines, with the next and the last firing of each."""
    options = options_of(context)
    answer = fetch(options, "GET", "/v1/schedules")
    if options.as_json:
        print_json(answer)
        return
    rows = [
        (
            one["name"],
            one["pipeline"],
            _fires(one),
            "paused" if one["paused"] else _time(one["next_fire_at"]),
            _time(one["last_fire_at"]),
            one["last_run_id"],
            one["last_error"],
        )
        for one in msgspec.json.decode(answer)["data"]
    ]
    columns = ("schedule", "pipeline", "fires", "next", "last", "last run", "last error")
    print_table(columns, rows, empty="No pipeline has a trigger.")


@app.command(epilog="Example: forebay schedules pause weekly-reviews")
def pause(context: typer.Context, name: NameArgument) -> None:
    """Let a schedule fire nothing until it is resumed. What its times were meanwhile is not made up for."""
    _change(context, name, "pause")


@app.command(epilog="Example: forebay schedules resume weekly-reviews")
def resume(context: typer.Context, name: NameArgument) -> None:
    """Let a paused schedule go on from now."""
    _change(context, name, "resume")


@app.command(epilog="Example: forebay schedules run weekly-reviews")
def run(context: typer.Context, name: NameArgument) -> None:
    """Fire a schedule now, by hand; prints the run's id."""
    options = options_of(context)
    answer = fetch(options, "POST", f"/v1/schedules/{quote(name, safe='')}/run", body={})
    if options.as_json:
        print_json(answer)
    else:
        typer.echo(msgspec.json.decode(answer)["id"])


def _change(context: typer.Context, name: str, verb: str) -> None:
    options = options_of(context)
    answer = fetch(options, "POST", f"/v1/schedules/{quote(name, safe='')}/{verb}")
    if options.as_json:
        print_json(answer)
        return
    view = msgspec.json.decode(answer)
    state = "is paused" if view["paused"] else f"fires next {_time(view['next_fire_at']) or 'when something comes'}"
    typer.echo(f"{view['name']} {state}")


def _fires(view: dict[str, Any]) -> str:
    match view["type"]:
        case "cron":
            return f"{view['cron']} {view['timezone']}"
        case "rate":
            return f"every {view['rate_seconds']:g} s"
        case "at":
            return f"at {_time(view['at'])}"
        case "files":
            return str(view["files"])
        case _:
            return msgspec.json.encode(view["event"]).decode()


def _time(at: float | None) -> str | None:
    return None if at is None else moment(at)

"""`forebay pipelines`: list and validate what is configured, run it here or on a server, list runs."""

import time
from typing import Annotated, Any

import msgspec
import typer

from forebay.api.pipelines.views import pipeline_view
from forebay.cli.failures import DONE, FAILED, INTERRUPTED, say
from forebay.cli.logging import set_up_logging
from forebay.cli.options import GlobalOptions, options_of
from forebay.cli.pipeline_forecast import show_forecast
from forebay.cli.pipeline_run import RunWish, forecast_here, run_here
from forebay.cli.remote import fetch, moment, print_fields, print_json, print_table
from forebay.cli.run_progress import make_run_reporter
from forebay.cli.run_records import list_here
from forebay.cli.service import run_on_uvloop
from forebay.domain.errors import ConfigurationError, NotFound
from forebay.domain.pipeline import Pipeline
from forebay.policy.nearest import hint
from forebay.policy.pipelines import mermaid

TERMINAL = ("succeeded", "failed", "cancelled")
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 2.0

app = typer.Typer(
    no_args_is_help=True,
    help="Steps over tables: list, validate, run, runs.",
    epilog="Example: forebay pipelines run weekly-reviews --param week=47",
)


def register(root: typer.Typer) -> None:
    """Adds the group."""
    root.add_typer(app, name="pipelines")


@app.command("list", epilog="Example: forebay pipelines list")
def list_(context: typer.Context) -> None:
    """List the pipelines that are configured."""
    options = options_of(context)
    if options.is_remote:
        answer = fetch(options, "GET", "/v1/pipelines")
    else:
        pipelines = options.settings().pipelines
        data = [msgspec.to_builtins(pipeline_view(pipelines[name])) for name in sorted(pipelines)]
        answer = msgspec.json.encode({"object": "list", "data": data, "has_more": False})
    if options.as_json:
        print_json(answer)
        return
    rows = [
        (
            one["name"],
            str(len(one["steps"])),
            ", ".join(trigger["type"] for trigger in one["on"]) or "by hand",
            one["description"] or "",
        )
        for one in msgspec.json.decode(answer)["data"]
    ]
    print_table(("name", "steps", "begun by", "what it does"), rows, empty="No pipeline is configured.")


@app.command(epilog="Example: forebay pipelines validate weekly-reviews --graph")
def validate(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default="all")] = None,
    graph: Annotated[bool, typer.Option("--graph", help="Print the steps as a picture, in Mermaid.")] = False,
) -> None:
    """Check the configuration's pipelines, whole, without running anything. Exit 2 if something is wrong."""
    options = options_of(context)
    pipelines = options.settings().pipelines
    chosen = [_named(name, pipelines)] if name else [pipelines[one] for one in sorted(pipelines)]
    if options.as_json:
        data = [msgspec.to_builtins(pipeline_view(pipeline)) for pipeline in chosen]
        print_json(msgspec.json.encode({"object": "list", "data": data, "has_more": False}))
        return
    if not chosen:
        raise ConfigurationError("No pipeline is configured")
    for pipeline in chosen:
        if graph:
            print(mermaid(pipeline), end="")
        else:
            kinds = ", ".join(f"{step.name} ({step.kind})" for step in pipeline.steps)
            print(f"{pipeline.name}: valid, {len(pipeline.steps)} steps: {kinds}")


@app.command(epilog="Example: forebay pipelines run weekly-reviews --param week=47")
def run(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME")] = None,
    param: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter; may be repeated.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with this run where it stopped.")] = None,
    from_step: Annotated[
        str | None, typer.Option("--from", metavar="STEP", help="Make this step and all after it anew.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Take over from this run what has not changed.", show_default="the latest"),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Take nothing over from earlier runs.")] = False,
    budget_usd: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="In place of the pipeline's budget.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be asked, and its price.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Print the run's id and leave it to workers.")] = False,
) -> None:
    """Run a pipeline and wait for its end. Exit 1 if it failed."""
    options = options_of(context)
    wish = RunWish(
        pipeline=name,
        params=params_of(param or []),
        resume=resume,
        from_step=from_step,
        since=since,
        is_fresh=fresh,
        budget_usd=budget_usd,
        is_dry=dry_run,
        detach=detach,
    )
    wish.check()
    set_up_logging("debug" if options.debug else "error")
    if options.is_remote:
        _conclude(options, _on_server(options, wish), detach=detach)
        return
    if dry_run:
        show_forecast(run_on_uvloop(forecast_here(options.settings(), wish)), as_json=options.as_json)
        return
    ended = run_on_uvloop(run_here(options.settings(), wish, make_run_reporter(is_quiet=options.as_json)))
    if ended.is_interrupted:
        if options.as_json:
            print_json(msgspec.json.encode(ended.view))
        say(f"The run goes on where it stopped: forebay pipelines run --resume {ended.view['id']}")
        raise typer.Exit(INTERRUPTED)
    _conclude(options, ended.view, detach=detach)


@app.command(epilog="Example: forebay pipelines runs --pipeline weekly-reviews")
def runs(
    context: typer.Context,
    run_id: Annotated[str | None, typer.Argument(metavar="RUN", help="One run, whole.", show_default="a list")] = None,
    pipeline: Annotated[str | None, typer.Option(metavar="NAME", help="Of this pipeline alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
) -> None:
    """List runs, newest first, or show one."""
    options = options_of(context)
    if options.is_remote:
        path = "/v1/runs" if run_id is None else f"/v1/runs/{run_id}"
        params = {"pipeline": pipeline, "limit": limit} if run_id is None else {}
        answer = fetch(options, "GET", path, params=params)
    else:
        answer = run_on_uvloop(list_here(options.settings(), run_id, pipeline, limit))
    if options.as_json:
        print_json(answer)
    elif run_id is not None:
        show_run(msgspec.json.decode(answer))
    else:
        _print_runs(msgspec.json.decode(answer)["data"])


def params_of(given: list[str]) -> dict[str, Any]:
    """``KEY=VALUE``: a value that is JSON is that, any other a text. Raises: ConfigurationError."""
    params: dict[str, Any] = {}
    for one in given:
        key, mark, text = one.partition("=")
        if not mark or not key:
            raise ConfigurationError(f"--param {one!r} must be KEY=VALUE")
        try:
            params[key] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            params[key] = text
    return params


def show_run(view: dict[str, Any]) -> None:
    """Prints a run: its steps as a table, then the whole."""
    rows = []
    for name, step in view["steps"].items():
        records, output = step["records"], step["output"] or {}
        files = ", ".join(file["path"] for file in output.get("files") or [])
        rows.append(
            (
                name,
                step["kind"],
                step["status"],
                str(records["in"]),
                str(records["succeeded"]),
                str(records["failed"]),
                str(records["reused"]),
                "-" if step["cost_usd"] is None else f"{step['cost_usd']:.4f}",
                files,
            )
        )
    columns = ("step", "kind", "status", "in", "done", "failed", "reused", "USD", "files")
    print_table(columns, rows, empty="No steps.")
    fields = {key: view[key] for key in ("id", "pipeline", "status", "params", "usage", "cost_usd", "error")}
    print()
    print_fields(fields)


def _named(name: str, pipelines: dict[str, Pipeline]) -> Pipeline:
    if name not in pipelines:
        raise NotFound(f"There is no pipeline {name!r}{hint(name, pipelines)}")
    return pipelines[name]


def _on_server(options: GlobalOptions, wish: RunWish) -> dict[str, Any]:
    if wish.is_dry:
        raise ConfigurationError("--dry-run works on the configured store; leave --server out")
    if wish.resume is not None:
        body = {} if wish.budget_usd is None else {"budget_usd": wish.budget_usd}
        answer = fetch(options, "POST", f"/v1/runs/{wish.resume}/resume", body=body)
    else:
        asked = {
            "params": wish.params,
            "from": wish.from_step,
            "since": wish.since,
            "fresh": wish.is_fresh,
            "budget_usd": wish.budget_usd,
        }
        answer = fetch(options, "POST", f"/v1/pipelines/{wish.pipeline}/runs", body=asked)
    view: dict[str, Any] = msgspec.json.decode(answer)
    reporter, pause = make_run_reporter(is_quiet=options.as_json), FIRST_PAUSE_SECONDS
    with reporter:
        while view["status"] not in TERMINAL and not wish.detach:
            reporter.update(view)
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)
            view = msgspec.json.decode(fetch(options, "GET", f"/v1/runs/{view['id']}"))
        reporter.update(view)
    return view


def _conclude(options: GlobalOptions, view: dict[str, Any], *, detach: bool) -> None:
    """Shows the run, and exits by how it stands."""
    if options.as_json:
        print_json(msgspec.json.encode(view))
    elif detach:
        print(view["id"])
    else:
        show_run(view)
    failed = view.get("status") in ("failed", "cancelled")
    if failed and not options.as_json and view["error"]:
        say(f"{view['id']}: {view['error']['message']}")
    raise typer.Exit(FAILED if failed else DONE)


def _print_runs(views: list[dict[str, Any]]) -> None:
    rows = [
        (
            view["id"],
            view["pipeline"],
            view["status"],
            view["trigger"]["name"] or view["trigger"]["type"],
            moment(view["created_at"]),
            moment(view["finished_at"]),
        )
        for view in views
    ]
    print_table(("id", "pipeline", "status", "begun by", "created", "finished"), rows, empty="No runs.")

"""`forebay run INPUT -o OUTPUT`: the main job in one line."""

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from forebay.cli.failures import DONE, FAILED, INTERRUPTED, say
from forebay.cli.logging import set_up_logging
from forebay.cli.options import GlobalOptions, options_of
from forebay.cli.progress import counted, make_reporter, short
from forebay.cli.remote import print_json
from forebay.cli.server_site import ServerSite
from forebay.cli.service import STOPPING, StopSignals, run_on_uvloop
from forebay.domain.errors import ConfigurationError
from forebay.policy.expectation import Expectation
from forebay.policy.requests import RequestOptions
from forebay.runs.dry import expect
from forebay.runs.inputs import Input, open_input
from forebay.runs.job import execute
from forebay.runs.options import DEFAULT_MAX_ATTEMPTS, RunOptions
from forebay.runs.patience import Stopped
from forebay.runs.site import LocalSite, Site
from forebay.runs.summary import Summary
from forebay.runs.table import KEY_VARIABLES

EXAMPLE = "Example: forebay run reviews.csv -o labels.csv --prompt 'Classify: {review}' --model qwen2.5-coder-1.5b"
ASKING, WORKING, REPEATING = "What to ask", "How to work", "Earlier results"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("run", epilog=EXAMPLE)(run)


def run(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help=".jsonl .csv .parquet .txt, a folder, or - (JSONL).", show_default=False),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUTPUT", help=".jsonl, .csv or .parquet.")],
    model: Annotated[
        str | None, typer.Option(help="The model.", show_default="the only one configured", rich_help_panel=ASKING)
    ] = None,
    target: Annotated[str | None, typer.Option(help="A configured target.", rich_help_panel=ASKING)] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A server, without any configuration.", rich_help_panel=ASKING),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(show_default="/v1/chat/completions, or the target's own", rich_help_panel=ASKING),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The question; {column} takes the record's.", rich_help_panel=ASKING),
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same, from a file.", rich_help_panel=ASKING)
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="A system prompt.", rich_help_panel=ASKING)] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A member of each request: temperature=0.", rich_help_panel=ASKING),
    ] = None,
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A whole request, as a JSON template.", rich_help_panel=ASKING)
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A JSON schema of the output.", rich_help_panel=ASKING)
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Calls at once at most.", show_default="learned", rich_help_panel=WORKING)
    ] = None,
    max_attempts: Annotated[
        int, typer.Option(min=1, help="Calls for one record at most.", rich_help_panel=WORKING)
    ] = DEFAULT_MAX_ATTEMPTS,
    limit: Annotated[
        int | None, typer.Option(min=0, help="The first N records alone.", rich_help_panel=WORKING)
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(min=0, help="What it may cost at most.", rich_help_panel=WORKING)
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Add response, usage, cost and attempts.", rich_help_panel=WORKING)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and call nothing.", rich_help_panel=WORKING)
    ] = False,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Leave the work to a running worker; print the id.", rich_help_panel=WORKING),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Send failed records again.", rich_help_panel=REPEATING)
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ignore all earlier results.", rich_help_panel=REPEATING)
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(help="Under which earlier results are found.", show_default="OUTPUT", rich_help_panel=REPEATING),
    ] = None,
) -> None:
    """Run every record of a file through a model. The same command again goes on where it stopped, and pays for nothing
    twice.
    """
    common = options_of(context)
    set_up_logging("debug" if common.debug else "error")
    site = _site(common)
    request = RequestOptions(
        prompt=_prompt(prompt, prompt_file),
        system=system,
        body=None if body is None else _json_file(body, "--body"),
        params=parameters(param),
        schema=None if schema is None else _json_file(schema, "--schema"),
        endpoint=endpoint,
        model=model,
    )
    options = RunOptions(
        output=output,
        request=request,
        target=target,
        base_url=base_url,
        api_key=next((os.environ[key] for key in KEY_VARIABLES if os.environ.get(key)), None),
        concurrency=concurrency,
        max_attempts=max_attempts,
        limit=limit,
        is_full=full,
        retry_failed=retry_failed,
        is_fresh=fresh,
        budget_usd=budget_usd,
        name=name,
        detach=detach,
    )
    opened = open_input(source, output=output)
    if dry_run:
        _show_expectation(common, run_on_uvloop(expect(opened, options, site)))
        return
    raise typer.Exit(run_on_uvloop(_run(common, opened, options, site)))


async def _run(common: GlobalOptions, source: Input, options: RunOptions, site: Site) -> int:
    reporter = make_reporter()
    async with StopSignals(lambda: reporter.say(STOPPING)) as stop:
        try:
            summary = await execute(source, options, site, reporter, stop.asked)
        except Stopped:
            say("stopped; the same command goes on where it stopped")
            return INTERRUPTED if stop.interrupted else FAILED
    _show_summary(common, summary)
    return FAILED if summary.failed and not options.detach else DONE


def _site(common: GlobalOptions) -> Site:
    """A server where one is named, else this machine."""
    if common.server is not None:
        return ServerSite(common.server_url, os.environ.get("FOREBAY_API_KEY"), common.settings())
    return LocalSite(common.settings(), os.environ)


def parameters(texts: list[str] | None) -> dict[str, Any]:
    """Reads ``--param``: the value is JSON, or else text. Raises: ConfigurationError."""
    found: dict[str, Any] = {}
    for text in texts or []:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise ConfigurationError(f"--param {text!r} is not KEY=VALUE")
        try:
            found[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[name] = value
    return found


def _prompt(text: str | None, file: Path | None) -> str | None:
    if file is None:
        return text
    if text is not None:
        raise ConfigurationError("--prompt and --prompt-file exclude each other")
    return _read(file, "--prompt-file")


def _json_file(file: Path, option: str) -> Any:
    try:
        return msgspec.json.decode(_read(file, option))
    except msgspec.DecodeError as exc:
        raise ConfigurationError(f"{option} {file}: not JSON: {exc}") from exc


def _read(file: Path, option: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigurationError(f"{option} {file}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{option} {file}: not UTF-8") from exc


def _show_summary(common: GlobalOptions, summary: Summary) -> None:
    if common.as_json:
        print_json(msgspec.json.encode(summary))
        return
    told = [f"{summary.succeeded:,} of {counted(summary.records, 'record')} succeeded"]
    if summary.reused:
        told[0] += f" ({summary.reused:,} of them earlier)"
    if summary.failed:
        told.append(f"{summary.failed:,} failed")
    if summary.calls is not None:
        told.append(counted(summary.calls, "call"))
    if summary.usage is not None:
        told.append(f"{short(summary.usage['input_tokens'])} → {short(summary.usage['output_tokens'])} tokens")
    if summary.cost_usd:
        told.append(f"${summary.cost_usd:,.4f}")
    told.append(f"{summary.seconds:,.1f} s")
    if isinstance(summary.batch, str):
        print(f"{summary.batch} goes on by itself; the same command without --detach fetches its results")
        return
    print(" · ".join(told))
    print(f"output: {summary.output}")
    if summary.errors is not None:
        print(f"errors: {summary.errors}")


def _show_expectation(common: GlobalOptions, expected: Expectation) -> None:
    if common.as_json:
        print_json(msgspec.json.encode(expected))
        return
    print(
        f"{counted(expected.records, 'record')} · {expected.already_paid:,} already paid · {expected.to_send:,} to send"
    )
    if expected.refused:
        print(f"{expected.refused:,} failed earlier, or lack what the template names")
    cost = "of unknown cost" if expected.cost_usd is None else f"${expected.cost_usd:,.4f} at most"
    print(f"about {short(expected.input_tokens)} → {short(expected.output_tokens)} tokens, {cost}")
    for request in expected.requests:
        print(f"POST {request['endpoint']} {msgspec.json.encode(request['body']).decode()}")

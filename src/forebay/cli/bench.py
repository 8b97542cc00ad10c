"""`forebay bench`: what this machine does, each figure beside its baseline in the same run."""

import asyncio
import signal
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from forebay.bench.figures import Figure, Report, number
from forebay.bench.run import SECTIONS, Request, run_bench
from forebay.bench.sizes import Sizes, sized
from forebay.cli.failures import DONE, FAILED, say
from forebay.cli.logging import set_up_logging
from forebay.cli.options import options_of, refuse_server
from forebay.cli.remote import print_json
from forebay.cli.service import run_on_uvloop, spare_the_heap
from forebay.domain.errors import ConfigurationError

WIDE = 160  # columns of a table that goes into a file
MARKS = {True: "met", False: "MISSED", None: ""}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("bench", epilog="Example: forebay bench --only durable,batches --check")(bench)


def bench(
    context: typer.Context,
    only: Annotated[
        str | None, typer.Option(metavar="A,B", help=f"These sections alone: {', '.join(SECTIONS)}.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Batches and queues of a million; takes long.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Model calls of one round, bare and durable.", min=10)] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds, whose medians are told.", min=1)] = None,
    latency_ms: Annotated[float | None, typer.Option(help="How long the mock model takes.", min=0)] = None,
    submissions: Annotated[int | None, typer.Option(help="Jobs that are posted to a server.", min=100)] = None,
    lines: Annotated[str | None, typer.Option(metavar="N,N", help="Sizes of batches, the smallest first.")] = None,
    backlog: Annotated[
        int | None, typer.Option(help="Jobs that are queued while others are handed in.", min=100)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if an aim is missed.")] = False,
) -> None:
    """Measure what this machine does: durable jobs, batches, submissions, limits, each beside its baseline.

    Read the ratios: rates change with whatever else the machine does.
    """
    options = options_of(context)
    refuse_server(options, "bench")
    set_up_logging("error")
    sizes = sized(
        is_full=full,
        jobs=jobs,
        rounds=rounds,
        latency_ms=latency_ms,
        submissions=submissions,
        lines=_numbers(lines),
        backlog=backlog,
    )
    request = Request(sections=_sections(only), sizes=sizes, tell=say)
    report = run_on_uvloop(_measured(request))
    if options.as_json:
        print_json(msgspec.json.encode(report))
    else:
        _show(report, sizes)
    for missed in report.misses if check else []:
        say(missed)
    raise typer.Exit(FAILED if check and report.misses else DONE)


async def _measured(request: Request) -> Report:
    """SIGTERM ends it, and the processes that it started."""
    spare_the_heap()  # as servers and workers do; the baselines gain by it as well
    measuring = asyncio.ensure_future(run_bench(request))
    asked = asyncio.Event()

    def stop() -> None:
        asked.set()
        measuring.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    try:
        return await measuring
    except asyncio.CancelledError:
        if not asked.is_set():  # Ctrl-C
            raise
        say("stopped; nothing is left of the bench")
        raise typer.Exit(FAILED) from None


def _sections(only: str | None) -> tuple[str, ...]:
    if only is None:
        return tuple(SECTIONS)
    chosen = tuple(dict.fromkeys(name.strip() for name in only.split(",") if name.strip()))
    for name in chosen:
        if name not in SECTIONS:
            raise ConfigurationError(f"The bench has no section {name!r}; there are: {', '.join(SECTIONS)}")
    return chosen


def _numbers(lines: str | None) -> tuple[int, ...] | None:
    if lines is None:
        return None
    try:
        found = tuple(sorted(int(part) for part in lines.split(",")))
    except ValueError as exc:
        raise ConfigurationError(f"--lines {lines!r}: write numbers, such as 10000,100000") from exc
    if found[0] < 1:
        raise ConfigurationError(f"--lines {lines!r}: a batch has at least 1 line")
    return found


def _show(report: Report, sizes: Sizes) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    table = Table(
        title=f"Calls of {sizes.latency_ms:g} ms; read the ratios: rates change with what else the machine does"
    )
    for column in ("section", "figure", "measured", "baseline", "ratio", "aim", ""):
        table.add_column(column, justify="left" if column in {"section", "figure"} else "right")
    section = ""
    for figure in report.figures:
        if section and figure.section != section:
            table.add_section()
        table.add_row("" if figure.section == section else figure.section, *_cells(figure))
        section = figure.section
    console.print(table)
    for note in report.notes:
        console.print(note)
    console.print(f"{len(report.misses)} aims missed; {report.seconds:.0f} s.")


def _cells(figure: Figure) -> tuple[str, ...]:
    baseline = "" if figure.baseline is None else f"{number(figure.baseline)} ({figure.baseline_name})"
    return (
        figure.name,
        f"{number(figure.measured)} {figure.unit}",
        baseline,
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        "" if figure.aim is None else figure.aim.text,
        MARKS[figure.is_met],
    )

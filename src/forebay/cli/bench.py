"""`forebay bench`: what this machine does, each figure beside its baseline in the same run."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from forebay.bench.report import RATIO_AIM, SUBMISSIONS_AIM, BenchReport, measure
from forebay.cli.failures import DONE, FAILED, say
from forebay.cli.logging import set_up_logging
from forebay.cli.options import options_of, refuse_server
from forebay.cli.remote import print_json
from forebay.cli.service import run_on_uvloop, spare_the_heap


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("bench", epilog="Example: forebay bench --jobs 50000 --check")(bench)


def bench(
    context: typer.Context,
    jobs: Annotated[int, typer.Option(help="How many model calls, bare and as durable jobs.", min=100)] = 20_000,
    latency_ms: Annotated[float, typer.Option(help="How long the mock model takes.", min=0)] = 50.0,
    submissions: Annotated[int, typer.Option(help="How many jobs are posted to a server.", min=100)] = 20_000,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if an aim is missed.")] = False,
) -> None:
    """Measure durable jobs and submissions a second on this machine, beside the bare HTTP client.

    Read the ratios: rates change with whatever else the machine does.
    """
    options = options_of(context)
    refuse_server(options, "bench")
    set_up_logging("error")
    report = run_on_uvloop(_measured(jobs, latency_ms, submissions))
    if options.as_json:
        print_json(msgspec.json.encode(report))
    else:
        Console(highlight=False).print(_table(report))
    for missed in report.misses if check else []:
        say(missed)
    raise typer.Exit(FAILED if check and report.misses else DONE)


async def _measured(jobs: int, latency_ms: float, submissions: int) -> BenchReport:
    spare_the_heap()  # as servers and workers do; the baseline gains by it as well
    return await measure(jobs, latency_ms, submissions)


def _table(report: BenchReport) -> Table:
    table = Table(title=f"{report.jobs:,} calls of {report.latency_ms:g} ms; medians of one machine, read as ratios")
    for column in ("figure", "measured", "baseline", "ratio", "aim"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    table.add_row(
        "durable jobs/s beside bare calls/s",
        f"{report.durable_per_second:,.0f}",
        f"{report.bare_per_second:,.0f}",
        f"{report.ratio:.2f}",
        f"≥ {RATIO_AIM}",
    )
    table.add_row(
        "CPU µs a job beside a bare call",
        f"{report.durable_cpu_us:.0f}",
        f"{report.bare_cpu_us:.0f}",
        f"{report.durable_cpu_us / report.bare_cpu_us:.2f}",
        "",
    )
    rate = report.submissions
    table.add_row(
        f"submissions/s, p50 {rate.p50_ms:.1f} ms, p99 {rate.p99_ms:.1f} ms",
        f"{rate.per_second:,.0f}",
        f"{SUBMISSIONS_AIM:,.0f}",
        f"{rate.per_second / SUBMISSIONS_AIM:.2f}",
        f"≥ {SUBMISSIONS_AIM:,.0f}",
    )
    return table

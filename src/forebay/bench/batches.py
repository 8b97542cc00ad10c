"""Section `batches`: files of requests, accepted and run through server and worker, from ten thousand lines up."""

from statistics import median

from forebay.bench.batch_run import BatchRun, run_batch, site
from forebay.bench.figures import Aim, Figure
from forebay.bench.place import Place
from forebay.bench.usage import can_look
from forebay.policy.window import LARGEST

SECTION = "batches"
ACCEPTED_AIM = 50_000.0
MEMORY_AIM_MB = 250.0
FLAT = 1.1  # a line of the largest batch may cost so many times what one of the smallest does
FILES_AIM = 2.0  # the largest batch's database beside that of a batch of about one window
SMALLEST_ROUNDS = 3


async def measure(place: Place) -> list[Figure]:
    """Runs each size on one server and worker; the smallest several times, because it is the baseline of the others."""
    smallest, *larger = place.sizes.lines
    runs: list[BatchRun] = []
    async with site(place, SECTION) as at:
        for lines in [smallest] * (SMALLEST_ROUNDS if larger else 1) + larger:
            place.tell(f"batch of {lines:,} lines")
            runs.append(await run_batch(at, lines))
    first = runs[:SMALLEST_ROUNDS] if larger else runs
    return [figure for run in (first[-1], *runs[len(first) :]) for figure in _each(run)] + _together(first, runs[-1])


def _each(run: BatchRun) -> list[Figure]:
    size = f"{run.lines:,} lines"
    figures = [
        _figure(
            f"{size}: validated and accepted", run.lines / run.accept_seconds, "lines/s", Aim(at_least=ACCEPTED_AIM)
        ),
        _figure(f"{size}: uploaded", run.lines / run.upload_seconds, "lines/s"),
        _figure(f"{size}: run", run.lines_per_second, "lines/s"),
        _figure(f"{size}: read while it ran", run.read_while_running, "lines"),
        Figure(
            section=SECTION,
            name=f"{size}: lines that ended while a small job waited",
            measured=run.overtaken_lines,
            unit="lines",
            baseline=LARGEST,
            baseline_name="a window",
            aim=Aim(at_most=1.0),
        ),
        _figure(f"{size}: longest wait of a small job beside it", run.longest_wait_seconds, "s"),
    ]
    if can_look():
        figures.append(_figure(f"{size}: server and worker", run.greatest_mb, "MB", Aim(at_most=MEMORY_AIM_MB)))
    return figures


def _together(first: list[BatchRun], largest: BatchRun) -> list[Figure]:
    if largest.lines == first[0].lines or not can_look():
        return []
    beside = f"{first[0].lines:,} lines"
    return [
        Figure(
            section=SECTION,
            name=f"CPU a line, {largest.lines:,} lines",
            measured=largest.cpu_us_a_line,
            unit="µs",
            baseline=median(run.cpu_us_a_line for run in first),
            baseline_name=beside,
            aim=Aim(at_most=FLAT),
        ),
        Figure(
            section=SECTION,
            name=f"database and log, {largest.lines:,} lines",
            measured=largest.greatest_files_mb,
            unit="MB",
            baseline=first[-1].greatest_files_mb,
            baseline_name=beside,
            aim=Aim(at_most=FILES_AIM),
        ),
    ]


def _figure(name: str, measured: float, unit: str, aim: Aim | None = None) -> Figure:
    return Figure(section=SECTION, name=name, measured=measured, unit=unit, aim=aim)

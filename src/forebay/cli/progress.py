"""A run's progress on stderr: a live display on a terminal, else a line every ten seconds."""

import sys
import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskProgressColumn
from rich.table import Column
from rich.text import Text

from forebay.cli.failures import say
from forebay.runs.progress import Reporter, Standing

LINE_SECONDS = 10.0
FACTS_WIDTH = 90  # what a long line of facts needs; the bar has the rest


def make_reporter() -> Reporter:
    """The display that fits stderr."""
    return LiveReporter() if sys.stderr.isatty() else LineReporter()


class LineReporter:
    """For logs and pipes."""

    def __init__(self) -> None:
        self._told_at = 0.0

    def begin(self, standing: Standing) -> None:
        self._told_at = time.monotonic()
        say(f"{counted(standing.total, 'record')}, {standing.reused:,} already done")

    def update(self, standing: Standing) -> None:
        now = time.monotonic()
        if now - self._told_at >= LINE_SECONDS:
            self._told_at = now
            say(line(standing))

    def say(self, sentence: str) -> None:
        say(sentence)

    def end(self) -> None:
        pass


class LiveReporter:
    """For people: a bar that knows what is done, what failed, how fast, at what price, and how long it will take."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn("dots", style="cyan", finished_text="[green]✓"),
            BarColumn(
                bar_width=min(max(self._console.width - FACTS_WIDTH, 8), 40),
                complete_style="cyan",
                finished_style="green",
                pulse_style="blue",
            ),
            TaskProgressColumn(),
            _Facts(),
            console=self._console,
            refresh_per_second=8,
        )
        self._task = self._progress.add_task("run", total=None, standing=None)

    def begin(self, standing: Standing) -> None:
        self._progress.start()
        self.update(standing)

    def update(self, standing: Standing) -> None:
        self._progress.update(self._task, total=standing.total, completed=standing.done, standing=standing)

    def say(self, sentence: str) -> None:
        self._console.print(Text(sentence, style="yellow"))

    def end(self) -> None:
        self._progress.stop()


class _Facts(ProgressColumn):
    """`812/2,000 · 3 failed · 41.2/s · 80.1k → 12.4k tok · $0.0123 · 0:00:29 left`."""

    def get_table_column(self) -> Column:
        return Column(no_wrap=True, overflow="ellipsis")

    def render(self, task: Task) -> Text:
        standing: Standing | None = task.fields.get("standing")
        if standing is None:
            return Text("reading the input", style="dim")
        text = Text.assemble((f"{standing.done:,}", "bold"), f"/{standing.total:,}")
        if standing.failed:
            text.append(f" · {standing.failed:,} failed", style="bold red")
        for fact in facts(standing):
            text.append(" · ", style="dim").append(fact)
        return text


def line(standing: Standing) -> str:
    """The same in one line of plain text."""
    return " · ".join([f"{standing.done:,}/{standing.total:,}", f"{standing.failed:,} failed", *facts(standing)])


def facts(standing: Standing) -> list[str]:
    """Rate, tokens, cost and time left, as far as they are known."""
    told: list[str] = []
    if standing.rate is not None:
        told.append(f"{standing.rate:,.1f}/s")
    if standing.usage is not None:
        told.append(f"{short(standing.usage.input_tokens)} → {short(standing.usage.output_tokens)} tok")
    if standing.cost_usd:
        told.append(f"${standing.cost_usd:,.4f}")
    if standing.remaining_seconds is not None and standing.done < standing.total:
        told.append(f"{timedelta(seconds=round(standing.remaining_seconds))} left")
    return told


def counted(number: int, noun: str) -> str:
    """`1 record`, `2,000 records`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def short(number: float) -> str:
    """`950`, `80.1k`, `3.2M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"

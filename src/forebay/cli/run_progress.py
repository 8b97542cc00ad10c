"""The progress of a pipeline's run on stderr: a live table on a terminal, else a line for each step that ends."""

import sys
import time
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from forebay.cli.failures import say

LINE_SECONDS = 10.0
_MARKS = {
    "queued": "[dim]·[/]",
    "running": "[cyan]▶[/]",
    "succeeded": "[green]✓[/]",
    "reused": "[green]↺[/]",
    "skipped": "[dim]–[/]",
    "failed": "[red]✗[/]",
    "cancelled": "[yellow]✗[/]",
}
_OVER = frozenset({"succeeded", "reused", "skipped", "failed", "cancelled"})
View = dict[str, Any]


class RunReporter(Protocol):
    """Shows a run while ``with`` lasts."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, view: View) -> None: ...


def make_run_reporter(*, is_quiet: bool) -> RunReporter:
    """The display that fits stderr. ``is_quiet``: stdout is for a program, which may read stderr too."""
    return TableReporter() if sys.stderr.isatty() and not is_quiet else StepReporter()


class StepReporter:
    """For logs and pipes."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._told_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left on the screen."""

    def update(self, view: View) -> None:
        for name, step in view["steps"].items():
            if step["status"] in _OVER and name not in self._told:
                self._told.add(name)
                self._say(f"{name}: {step['status']}{_counts(step)}")
        if time.monotonic() - self._told_at >= LINE_SECONDS:
            running = [name + _counts(step) for name, step in view["steps"].items() if step["status"] == "running"]
            self._say(f"running: {', '.join(running) or view['status']}")

    def _say(self, text: str) -> None:
        self._told_at = time.monotonic()
        say(text)


class TableReporter:
    """For people."""

    def __init__(self) -> None:
        self._live = Live(console=Console(stderr=True, highlight=False), refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, view: View) -> None:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, step in view["steps"].items():
            table.add_row(_MARKS.get(step["status"], " "), name, step["kind"], _counts(step).lstrip(", :"))
        self._live.update(table)


def _counts(step: View) -> str:
    """What is done of a step, how fast, and when the rest will be."""
    records = step["records"]
    done = records["succeeded"] + records["failed"]
    parts = [f"{done:,} of {records['in']:,}" if records["in"] else ""]
    parts.append(f"{records['failed']:,} failed" if records["failed"] else "")
    parts.append(f"{records['reused']:,} reused" if records["reused"] else "")
    parts.append(_pace(step, done))
    parts.append(f"{step['usage']['total_tokens']:,} tokens" if step["usage"] else "")
    parts.append(f"{step['cost_usd']:.4f} USD" if step["cost_usd"] else "")
    told = ", ".join(part for part in parts if part)
    return f": {told}" if told else ""


def _pace(step: View, done: int) -> str:
    if step["status"] != "running" or not done or step["started_at"] is None:
        return ""
    fresh = done - step["records"]["reused"]
    rate = fresh / max(0.001, time.time() - step["started_at"])
    if rate <= 0:
        return ""
    left = (step["records"]["in"] - done) / rate
    return f"{rate:,.1f}/s, {left:,.0f} s left"

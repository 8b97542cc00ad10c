"""What the demo prints."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai.types import Batch
from rich.markup import escape
from rich.table import Table

from demo.processes import console
from demo.reviews import Review

SHOWN_ROWS = 14


@dataclass(frozen=True, slots=True)
class Labelled:
    """A review with the model's answer."""

    text: str
    rating: float
    answer: str

    @property
    def agrees(self) -> bool:
        return self.answer == ("positive" if self.rating > 0 else "negative")


def read_labels(path: Path) -> list[Labelled]:
    """Reads what `forebay run` wrote: the input's columns, and `output` as JSON text."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Labelled(text=row["review"], rating=float(row["rating"]), answer=json.loads(row["output"])["sentiment"])
            for row in csv.DictReader(file)
        ]


def show_labels(labels: Sequence[Labelled], expected: int) -> None:
    """The table of inputs, answers and human ratings, and how often they agree."""
    wrong = [it for it in labels if not it.agrees]
    right = [it for it in labels if it.agrees]
    shown = wrong[: SHOWN_ROWS // 2]
    shown = right[: SHOWN_ROWS - len(shown)] + shown
    differing = sum(not it.agrees for it in shown)
    title = f"{len(shown)} of {len(labels)} answers, with {differing} of the {len(wrong)} that differ"
    table = Table(title=title, title_justify="left")
    table.add_column("review", ratio=1)
    table.add_column("model says", no_wrap=True)
    table.add_column("people say", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for it in shown:
        mark = "[green]agrees[/]" if it.agrees else "[red]differs[/]"
        table.add_row(escape(it.text), escape(it.answer), f"{it.rating:+.1f}", mark)
    console.print(table)
    share = len(right) / expected if expected else 0.0
    console.print(f"[bold]The model agrees with the human ratings on {len(right)} of {expected}: {share:.1%}[/]")


def show_summary(summary: dict[str, Any]) -> None:
    """Rate, tokens and cost of a run, as `forebay run --json` tells them."""
    seconds = float(summary["seconds"])
    usage = summary.get("usage") or {}
    rate = summary["succeeded"] / seconds if seconds else 0.0
    cost = summary["cost_usd"]
    console.print(
        f"{summary['succeeded']} of {summary['records']} records in {seconds:.1f} s ({rate:.2f} a second), "
        f"{summary['calls']} calls, {usage.get('input_tokens', 0):,} tokens in, {usage.get('output_tokens', 0):,} out, "
        f"cost {'unknown' if cost is None else f'${cost:.2f}'}"
    )


def show_batch(batch: Batch, reviews: Sequence[Review], results: dict[str, str], seconds: float) -> None:
    """The batch's state and its answers beside their inputs."""
    counts = batch.request_counts
    done = f"{counts.completed} of {counts.total} done, {counts.failed} failed" if counts else "no counts"
    table = Table(title=f"batch {batch.id}: {batch.status}, {done}, {seconds:.1f} s", title_justify="left")
    table.add_column("review", ratio=3)
    table.add_column("what it is about, says the model", ratio=2)
    for review in reviews:
        table.add_row(escape(review.text), escape(results.get(review.id, "(no answer)")))
    console.print(table)


def show_files(folder: Path) -> None:
    """Where everything is."""
    console.print("\n[bold]Files[/]")
    for path in sorted(folder.iterdir()):
        if path.suffix in {".csv", ".json", ".jsonl", ".yaml", ".db"}:
            console.print(f"  {path}  ({path.stat().st_size:,} bytes)", highlight=False, soft_wrap=True)

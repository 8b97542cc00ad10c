"""What the example prints."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console()


def show(report: dict[str, Any], out: Path) -> None:
    """The branches with their times and answers; then the whole beside the sums."""
    is_compared = "alone_seconds" in report
    table = Table(title=f"fan-out {report['job_id']}: {report['status']}", title_justify="left")
    for column in ("branch", "target"):
        table.add_column(column, no_wrap=True)
    table.add_column("what came back", ratio=1)
    if is_compared:
        table.add_column("alone", justify="right", no_wrap=True)
    table.add_column("together", justify="right", no_wrap=True)
    for one in report["branches"]:
        alone = [f"{one['alone_seconds']:.2f} s"] if is_compared else []
        table.add_row(one["name"], one["target"], escape(in_short(one)), *alone, f"{one['seconds']:.2f} s")
    console.print(table)
    lines = {"sum of the calls together": report["sum_seconds"], "the slowest call": report["slowest_seconds"]}
    if is_compared:
        lines = {"one after the other (sum of `alone`)": report["alone_seconds"], **lines}
    lines["the whole fan-out"] = report["whole_seconds"]
    if is_compared:
        lines["without the far one, one after the other"] = report["here_alone_seconds"]
        lines["without the far one, together"] = report["here_slowest_seconds"]
        lines["the first fan-out, which started the models"] = report["first_seconds"]
    for what, seconds in lines.items():
        console.print(f"{what + ':':46}{seconds:6.2f} s", highlight=False)
    console.print(f"files: {out}", highlight=False, soft_wrap=True)


def in_short(branch: dict[str, Any]) -> str:
    """A branch's answer in a line or a few."""
    if "error" in branch:
        return f"{branch['error']['code']}: {branch['error']['message']}"
    body = branch["body"]
    match branch["name"]:
        case "colours":
            return ", ".join(f"{one['rgb']} {one['share']:.0%}" for one in body["colours"])
        case "vector":
            vector = body["data"][0]["embedding"]
            return f"{len(vector)} numbers: {', '.join(f'{number:.3f}' for number in vector[:4])}, …"
        case "heard":
            return str(body["text"])
        case "reply":
            return f"{body['content_type']}, {body['bytes']:,} bytes: reply.wav"
        case "label":
            return json.dumps(json.loads(body["choices"][0]["message"]["content"]))
        case _:
            return str(body["choices"][0]["message"]["content"])

"""The bench as a whole: its sections, and a run of those that were asked for."""

import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from forebay.bench import (
    awaited,
    backlog,
    batches,
    durable,
    fanouts,
    growth,
    limits,
    parts,
    pipelines,
    postgres,
    push,
    rules,
    scaling,
    submissions,
    workers,
)
from forebay.bench.figures import Figure, Report
from forebay.bench.mock import compiled
from forebay.bench.place import Place
from forebay.bench.sizes import Sizes

Section = Callable[[Place], Awaitable[list[Figure]]]
SECTIONS: dict[str, Section] = {
    durable.SECTION: durable.measure,
    parts.SECTION: parts.measure,
    workers.SECTION: workers.measure,
    submissions.SECTION: submissions.measure,
    awaited.SECTION: awaited.measure,
    push.SECTION: push.measure,
    batches.SECTION: batches.measure,
    fanouts.SECTION: fanouts.measure,
    rules.SECTION: rules.measure,
    pipelines.SECTION: pipelines.measure,
    backlog.SECTION: backlog.measure,
    growth.SECTION: growth.measure,
    limits.SECTION: limits.measure,
    scaling.SECTION: scaling.measure,
    postgres.SECTION: postgres.measure,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to measure. ``tell`` says what is going on."""

    sections: Sequence[str]
    sizes: Sizes
    tell: Callable[[str], None]


async def run_bench(request: Request) -> Report:
    """Measures one section after the other, each with processes and files of its own."""
    began = time.perf_counter()
    figures: list[Figure] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as name:
        folder = Path(name)
        program = await compiled(folder)
        for section in request.sections:
            own = folder / section
            own.mkdir()
            place = Place(
                folder=own,
                program=program,
                sizes=request.sizes,
                tell=partial(_tell, request, section),
                notes=notes,
            )
            figures += await SECTIONS[section](place)
    return Report(
        figures=tuple(figures),
        notes=(f"The mock model: {program.description}.", *notes),
        seconds=time.perf_counter() - began,
    )


def _tell(request: Request, section: str, text: str) -> None:
    request.tell(f"{section}: {text}")

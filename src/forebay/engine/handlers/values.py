"""What templates of steps see of other steps: a table as its first rows, a value as it is."""

from typing import Any

from forebay.domain.pipeline import StepWork
from forebay.engine.services import Services


async def seen_by(work: StepWork, services: Services, rows: int) -> dict[str, Any]:
    """The scope of a step: ``run``, ``params``, and its inputs by their names."""
    seen: dict[str, Any] = dict(work.scope)
    for name, output in work.inputs.items():
        if output.value is None and output.table is not None and services.tables is not None:
            seen[name] = await services.tables.rows(output.table, limit=rows)
        else:
            seen[name] = output.value
    return seen

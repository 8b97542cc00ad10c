"""The run view: what the API and the command line say of a run. Every key is always present."""

from typing import Any

import msgspec
from msgspec.structs import replace

from forebay.domain.attempt import summed, summed_usd
from forebay.domain.job import Job, Status
from forebay.domain.pipeline import (
    INFERENCE_KINDS,
    Counts,
    InputFile,
    RunCursor,
    StepKind,
    StepOutcome,
    StepOutput,
    StepSpec,
    StepState,
    StepStatus,
    TriggerType,
    run_args,
    run_cursor,
    run_id,
)
from forebay.engine.handlers.inference.standing import standing
from forebay.engine.runs import PIPELINE_MARK
from forebay.engine.services import Services
from forebay.engine.views import ErrorView, UsageView, error_view, usage_view

_STATUS = {Status.WAITING: Status.RUNNING}
_NEVER_BEGUN = frozenset({StepStatus.QUEUED, StepStatus.RUNNING})


class TriggerView(msgspec.Struct, kw_only=True):
    """What began a run."""

    type: str
    name: str | None
    fire_time: float | None
    detail: Any = None


class TableView(msgspec.Struct, kw_only=True):
    """A step's table: its columns with DuckDB's types."""

    rows: int
    bytes: int
    columns: dict[str, str]


class OutputView(msgspec.Struct, kw_only=True):
    """What a step has made. ``rejected``: how many records are in its dead-letter table; ``files``: what it wrote;
    ``sources``: what it read.
    """

    table: TableView | None
    value: Any
    rejected: int
    files: tuple[InputFile, ...]
    sources: tuple[InputFile, ...]


class StepView(msgspec.Struct, kw_only=True):
    """One step of a run."""

    kind: StepKind
    status: StepStatus
    records: Counts
    usage: UsageView | None
    cost_usd: float | None
    output: OutputView | None
    error: ErrorView | None
    from_run: str | None
    started_at: float | None
    finished_at: float | None


class RunView(msgspec.Struct, kw_only=True):
    """A run, whole."""

    id: str
    object: str = "run"
    pipeline: str
    status: Status
    trigger: TriggerView
    params: dict[str, Any]
    steps: dict[str, StepView]
    usage: UsageView | None
    cost_usd: float | None
    error: ErrorView | None
    created_at: float
    started_at: float | None
    finished_at: float | None


async def run_view(job: Job, services: Services) -> RunView:
    """The run as it is now; of its live steps their progress."""
    if job.spec.args is None:
        return _erased(job)
    args, cursor = run_args(job.spec.args), run_cursor(job.progress)
    live = await _live_steps(job, cursor, services)
    steps: dict[str, StepView] = {}
    for step in args.pipeline.steps:
        state = cursor.steps.get(step.name, StepState())
        if child := live.get(state.job_id or ""):
            state = replace(state, started_at=child.started_at)
            if step.kind in INFERENCE_KINDS:
                state = replace(state, outcome=await standing(child, services))
        steps[step.name] = _step_view(step, state, is_over=job.is_terminal)
    return RunView(
        id=run_id(job.id),
        pipeline=args.pipeline.name,
        status=_STATUS.get(job.status, job.status),
        trigger=TriggerView(
            type=args.trigger.type, name=args.trigger.name, fire_time=args.trigger.fire_time, detail=args.trigger.detail
        ),
        params=args.params,
        steps=steps,
        usage=usage_view(summed(state.outcome.usage for state in cursor.steps.values() if state.outcome)),
        cost_usd=summed_usd(step.cost_usd for step in steps.values()),
        error=None if job.status is Status.SUCCEEDED else error_view(job.error),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def _erased(job: Job) -> RunView:
    """What is left of a run whose words were erased."""
    return RunView(
        id=run_id(job.id),
        pipeline=job.spec.metadata.get(PIPELINE_MARK, ""),
        status=_STATUS.get(job.status, job.status),
        trigger=TriggerView(type=TriggerType.MANUAL, name=None, fire_time=None),
        params={},
        steps={},
        usage=usage_view(job.usage),
        cost_usd=job.cost_usd,
        error=None if job.status is Status.SUCCEEDED else error_view(job.error),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


async def _live_steps(job: Job, cursor: RunCursor, services: Services) -> dict[str, Job]:
    """The jobs of the steps that are under way, by their ids."""
    running = [state.job_id for state in cursor.steps.values() if state.status is StepStatus.RUNNING and state.job_id]
    found = await services.jobs.get(job.tenant, running) if running and not job.is_terminal else []
    return {child.id: child for child in found if child is not None}


def _step_view(step: StepSpec, state: StepState, *, is_over: bool) -> StepView:
    known = state.outcome or StepOutcome()
    status = StepStatus.CANCELLED if is_over and state.status in _NEVER_BEGUN else state.status
    return StepView(
        kind=step.kind,
        status=status,
        records=known.counts,
        usage=usage_view(known.usage),
        cost_usd=known.cost_usd,
        output=_output_view(known.output) if state.outcome and state.status is not StepStatus.RUNNING else None,
        error=error_view(state.error),
        from_run=state.from_run,
        started_at=state.started_at,
        finished_at=state.finished_at,
    )


def _output_view(output: StepOutput) -> OutputView:
    table = output.table
    return OutputView(
        table=TableView(rows=table.rows, bytes=table.bytes, columns=table.columns) if table else None,
        value=output.value,
        rejected=output.rejected.rows if output.rejected else 0,
        files=output.files,
        sources=output.sources,
    )

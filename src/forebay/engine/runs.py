"""Runs of pipelines: made by hand, by a schedule, by an event, or by another run. Each is one job, a group."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from forebay.domain.errors import Conflict, NotFound, RequestError
from forebay.domain.job import Job, Spec, Status
from forebay.domain.pipeline import (
    PIPELINE,
    RUN_BUDGET,
    Pipeline,
    RunArgs,
    RunBudget,
    RunTrigger,
    TriggerType,
    run_args,
    run_budget,
    run_id,
    run_job_id,
)
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord
from forebay.domain.webhook import Subject
from forebay.engine.groups import make_group
from forebay.engine.services import Services
from forebay.engine.triggers.uploads import uploads_of
from forebay.policy.nearest import hint

LIFESPAN_SECONDS = 30 * 86_400.0  # of a run: a slow model may take days
PIPELINE_MARK = "pipeline"  # in the metadata of a run's job: by it runs are found
TRIGGER_MARK = "trigger"


class RunOrder(Record, frozen=True, kw_only=True):
    """A run as it is asked for. ``key``: by which a second firing is the first; ``parent_id``: of a step's `call`."""

    params: dict[str, Any] = {}
    trigger: RunTrigger = RunTrigger()
    key: str = ""
    fingerprint: str = ""
    origin: str = ""
    priority: int = 0
    parent_id: str = ""
    from_step: str | None = None
    since: str | None = None
    is_fresh: bool = False
    budget_usd: float | None = None  # in place of the pipeline's
    hops: int = 0  # events that led here


def pipeline_named(name: str, services: Services) -> Pipeline:
    """Raises: NotFound: no such pipeline is configured."""
    found = services.pipelines.get(name)
    if found is None:
        raise NotFound(f"There is no pipeline {name!r}{hint(name, services.pipelines)}", param="pipeline")
    return found


async def run_named(named: str, services: Services, *, tenant: str = "default", param: str = "id") -> Job:
    """Raises: NotFound: the tenant has no such run."""
    [job] = await services.jobs.get(tenant, [run_job_id(named)])
    if job is None or job.kind != PIPELINE:
        raise NotFound(f"There is no run {named!r}", param=param)
    return job


async def make_run(pipeline: Pipeline, order: RunOrder, services: Services, *, tenant: str = "default") -> Job:
    """Makes the job of a run; ``JobStore.add`` makes it durable.

    Raises: RequestError: a parameter that the pipeline does not know, a step that it does not have, or a file that does
    not exist.
    """
    _check(pipeline, order)
    if order.since is not None:
        await run_named(order.since, services, tenant=tenant, param="since")
    budget = pipeline.budget_usd if order.budget_usd is None else order.budget_usd
    uploads, trigger = await uploads_of(order.params, services, tenant), order.trigger
    if uploads and trigger.type is TriggerType.MANUAL:
        trigger = msgspec.structs.replace(trigger, type=TriggerType.UPLOAD)
    args = RunArgs(
        pipeline=pipeline,
        params={**pipeline.params, **order.params},
        trigger=trigger,
        from_step=order.from_step,
        since=order.since,
        is_fresh=order.is_fresh,
        hops=order.hops,
        uploads=uploads,
        settings=_settings(services),
    )
    group = make_group(PIPELINE, order, services, tenant=tenant, deadline=services.clock.now() + LIFESPAN_SECONDS)
    return msgspec.structs.replace(
        group,
        parent_id=order.parent_id,
        spec=Spec(
            budget_usd=budget,
            metadata={PIPELINE_MARK: pipeline.name, TRIGGER_MARK: trigger.name or trigger.type.value},
            args=msgspec.json.encode(args).decode(),
        ),
        blobs=tuple(sorted({upload.blob_id for upload in uploads.values()})),
        on_end=() if order.parent_id else await services.notices.of(tenant, Subject.RUN),
    )


async def start_run(pipeline: Pipeline, order: RunOrder, services: Services, *, tenant: str = "default") -> str:
    """Makes the run durable and returns its job's id: that of the first one where ``order.key`` was there before.

    Raises: RequestError, as of ``make_run``.
    """
    [added] = await services.jobs.add([await make_run(pipeline, order, services, tenant=tenant)])
    return added.id


async def resume_run(
    job: Job, services: Services, *, budget_usd: float | None = None, budget_tokens: int | None = None
) -> None:
    """Queues a run again that failed or was cancelled: it goes on where it stopped. A live one goes on as it is.

    Raises: Conflict: it has succeeded. RequestError: a budget that is no larger than what it had.
    """
    if job.status is Status.SUCCEEDED:
        raise Conflict(f"Run {run_id(job.id)!r} has succeeded: there is nothing to resume", code="run_succeeded")
    if job.spec.args is None:
        raise Conflict(f"Run {run_id(job.id)!r} was erased: nothing is left to go on with", code="erased")
    if budget_usd is not None or budget_tokens is not None:
        await _raise_budget(job, RunBudget(budget_usd=budget_usd, budget_tokens=budget_tokens), services)
    if job.is_terminal:
        await services.jobs.retry(job.tenant, [job.id])


async def budget_of(run: Job, services: Services) -> RunBudget:
    """What a run may spend: as it was made, or as it was resumed."""
    record = await services.records.get(run.tenant, RUN_BUDGET, run.id)
    raised = RunBudget() if record is None else run_budget(record.data)
    return RunBudget(
        budget_usd=run.spec.budget_usd if raised.budget_usd is None else raised.budget_usd,
        budget_tokens=run_args(run.spec.args).pipeline.budget_tokens
        if raised.budget_tokens is None
        else raised.budget_tokens,
    )


async def _raise_budget(job: Job, raised: RunBudget, services: Services) -> None:
    known = await budget_of(job, services)
    for given, had, name in (
        (raised.budget_usd, known.budget_usd, "budget_usd"),
        (raised.budget_tokens, known.budget_tokens, "budget_tokens"),
    ):
        if given is not None and had is not None and given <= had:
            raise RequestError(f"{name}: it must be larger than the run's {had:g}", param=name)
    record = StoredRecord(kind=RUN_BUDGET, id=job.id, tenant=job.tenant, created_at=services.clock.now())
    old = await services.records.get(job.tenant, RUN_BUDGET, job.id)
    before = RunBudget() if old is None else run_budget(old.data)
    data = RunBudget(
        budget_usd=before.budget_usd if raised.budget_usd is None else raised.budget_usd,
        budget_tokens=before.budget_tokens if raised.budget_tokens is None else raised.budget_tokens,
    )
    encoded = msgspec.json.encode(data).decode()
    expires_at = job.deadline + services.bounds.result_ttl_seconds
    await services.records.put(
        msgspec.structs.replace(record, version=old.version if old else 0, data=encoded, expires_at=expires_at)
    )


def scope_of(job: Job, args: RunArgs) -> dict[str, Any]:
    """What the templates of a run's steps see beside their records: ``run.*`` and ``params.*``."""
    trigger = args.trigger
    zone = next((one.timezone for one in args.pipeline.triggers if one.name == trigger.name), "UTC")
    at = datetime.fromtimestamp(job.created_at if trigger.fire_time is None else trigger.fire_time, ZoneInfo(zone))
    run = {
        "id": run_id(job.id),
        "pipeline": args.pipeline.name,
        "date": at.strftime("%Y-%m-%d"),
        "time": at.strftime("%H:%M:%S"),
        "trigger": {"type": trigger.type.value, "name": trigger.name, "detail": trigger.detail},
    }
    return {"run": run, "params": args.params}


def _check(pipeline: Pipeline, order: RunOrder) -> None:
    for name in order.params:
        if name not in pipeline.params:
            known = ", ".join(pipeline.params) or "none"
            message = (
                f"Pipeline {pipeline.name!r} has no parameter {name!r}{hint(name, pipeline.params)} (it has {known})"
            )
            raise RequestError(message, param="params")
    steps = [step.name for step in pipeline.steps]
    if order.from_step is not None and order.from_step not in steps:
        message = f"Pipeline {pipeline.name!r} has no step {order.from_step!r}{hint(order.from_step, steps)}"
        raise RequestError(message, param="from")
    missing = [name for name, value in {**pipeline.params, **order.params}.items() if value is None]
    if missing:
        raise RequestError(f"Pipeline {pipeline.name!r} needs the parameter {missing[0]!r}", param="params")


def _settings(services: Services) -> dict[str, Any]:
    """The targets and routes as they are, so that a run tells what it was made with; never a key."""
    targets = {
        name: {"type": spec.type.value, "models": list(spec.models), "placement": spec.placement}
        for name, spec in services.specs.items()
    }
    routes = {
        route.name: [f"{entry.target}/{entry.model}" if entry.model else entry.target for entry in route.entries]
        for route in services.routes
    }
    return {"targets": targets, "routes": routes}

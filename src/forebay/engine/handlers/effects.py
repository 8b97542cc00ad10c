"""Steps that act outside of tables: a notice to an address, an event for the rules, another pipeline's run.

Each may be done again after a crash and has its effect once: a delivery, an event and a run are known by the step's id.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from forebay.domain.answer import Answer, Done, Failed, Spawn
from forebay.domain.errors import RequestError
from forebay.domain.job import ErrorCode, Job, JobError, Join, Notice, Spec, Status
from forebay.domain.pipeline import (
    STEP_FAILED,
    Counts,
    RunTrigger,
    StepOutcome,
    StepOutput,
    StepWork,
    TriggerType,
    run_id,
)
from forebay.domain.query import JobQuery
from forebay.domain.webhook import LIFESPAN_SECONDS, NOTIFY, JobWebhook, NotifyArgs, Subject, encoded
from forebay.engine.context import Context
from forebay.engine.endpoints import check_address
from forebay.engine.events import Incoming, receive
from forebay.engine.handlers.results import own_result
from forebay.engine.handlers.values import seen_by
from forebay.engine.notices import notice_to
from forebay.engine.runs import RunOrder, make_run, pipeline_named
from forebay.engine.services import Services
from forebay.outgoing import AddressRefused
from forebay.policy.lifecycle import ended_by
from forebay.policy.steps.effects import Per, read_call, read_notify, read_publish
from forebay.policy.templates import compile_body, compile_text

STEP_EVENT = "run.step"  # the type of what a `notify` step tells
MOST_EVENTS = 10_000  # of one step
ROWS_SEEN = 200  # of a table that a template names. Source: interfaces.md (Templates)


async def handle_notify_step(job: Job, work: StepWork, context: Context) -> Answer:
    """Adds a delivery, which is tried for days without holding up the run."""
    services = context.services
    if job.ending is not None:
        return Failed(error=ended_by(job.ending))
    options = read_notify(work.step.options)
    scope = await seen_by(work, services, ROWS_SEEN)
    url = compile_text(options.webhook).render_text(scope)
    await _check(url, job, services)
    data: dict[str, Any] = {"id": run_id(work.run_id), "pipeline": work.pipeline, "step": work.step.name}
    if options.data is not None:
        data["data"] = compile_body(options.data).render(scope)
    notice = notice_to(JobWebhook(url=url), job.tenant)
    args = NotifyArgs(
        subject=Subject.RUN,
        url=url,
        job_id=work.run_id,
        event_id=_event_id(job),
        happened_at=job.created_at,
        event_type=STEP_EVENT,
        data=data,
    )
    await services.jobs.add([_delivery(job, notice, encoded(args), services)])
    return await _done(StepOutcome(output=StepOutput(value={"event_id": _event_id(job)})), services)


async def handle_publish(job: Job, work: StepWork, context: Context) -> Answer:
    """Publishes one event, or one for each record."""
    services = context.services
    if job.ending is not None:
        return Failed(error=ended_by(job.ending))
    options = read_publish(work.step.options)
    published = 0
    for number, scope in enumerate(await _scopes(work, options.per, services)):
        event = {
            "id": f"{run_id(work.run_id)}.{work.step.name}.{number}",
            "source": compile_text(options.source).render_text(scope),
            "detail-type": compile_text(options.detail_type).render_text(scope),
            "detail": compile_body(options.detail).render(scope),
        }
        await receive(_incoming(event, work), services, tenant=job.tenant)
        published += 1
    counts = Counts(entered=published, succeeded=published)
    return await _done(StepOutcome(output=StepOutput(value={"events": published}), counts=counts), services)


async def handle_call(job: Job, work: StepWork, context: Context) -> Answer:
    """Runs another pipeline and waits for it: its run is a child."""
    services = context.services
    query = JobQuery(tenant=job.tenant, parent_id=job.id, limit=1)
    found = await services.jobs.find(query)
    if not found and job.ending is None:
        options = read_call(work.step.options)
        params = compile_body(options.params).render(await seen_by(work, services, ROWS_SEEN))
        trigger = RunTrigger(type=TriggerType.PIPELINE, name=work.pipeline, detail={"run_id": run_id(work.run_id)})
        order = RunOrder(params=params, trigger=trigger, key="call", parent_id=job.id, hops=work.hops)
        run = await make_run(pipeline_named(options.pipeline, services), order, services, tenant=job.tenant)
        budget = run.spec.budget_usd if job.spec.budget_usd is None else job.spec.budget_usd
        run = msgspec.structs.replace(run, spec=msgspec.structs.replace(run.spec, budget_usd=budget))
        return Spawn(children=(run,), join=Join())
    if not found:
        return Failed(error=ended_by(job.ending))
    [run] = found
    if not run.is_terminal:
        return Spawn(join=Join())
    value = {"run_id": run_id(run.id), "status": run.status.value}
    outcome = StepOutcome(output=StepOutput(value=value), usage=run.usage, cost_usd=run.cost_usd)
    if run.status is Status.SUCCEEDED:
        return await _done(outcome, services)
    because = run.error.message if run.error else "it was cancelled"
    code = run.error.code if run.error and run.error.code == ErrorCode.BUDGET_EXCEEDED else STEP_FAILED
    return Failed(error=JobError(code=code, message=f"{run_id(run.id)}: {because}"))


async def _check(url: str, job: Job, services: Services) -> None:
    """Raises: RequestError. A name that can't be found now is the delivery's to find: it has three days."""
    try:
        await check_address(url, job.tenant, services)
    except RequestError as refused:
        cause = refused.__cause__
        if not isinstance(cause, OSError) or isinstance(cause, AddressRefused):
            raise


async def _scopes(work: StepWork, per: Per, services: Services) -> list[Mapping[str, Any]]:
    if per is Per.RUN:
        return [await seen_by(work, services, ROWS_SEEN)]
    if len(work.inputs) != 1 or services.tables is None:
        raise RequestError("publishes an event for each record of one step: `from: step`", param="per")
    [output] = work.inputs.values()
    if output.table is None:
        return []
    if output.table.rows > MOST_EVENTS:
        message = f"{output.table.rows} records are more than the {MOST_EVENTS} events that a step publishes"
        raise RequestError(message, param="per")
    rows = await services.tables.rows(output.table, limit=MOST_EVENTS)
    return [{**work.scope, **row} for row in rows]


def _incoming(event: dict[str, Any], work: StepWork) -> Incoming:
    text = msgspec.json.encode(event, order="deterministic").decode()
    return Incoming(
        source=event["source"],
        id=event["id"],
        type=event["detail-type"],
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        hops=work.hops,
    )


def _delivery(job: Job, notice: Notice, args: str, services: Services) -> Job:
    now = services.clock.now()
    return Job(
        id=services.ids.new("job"),
        kind=NOTIFY,
        queue=notice.queue,
        tenant=job.tenant,
        key=f"notify:{job.id}",
        created_at=now,
        due_at=now,
        deadline=now + LIFESPAN_SECONDS,
        spec=Spec(metadata={**notice.metadata, "job_id": job.parent_id}, args=args),
    )


async def _done(outcome: StepOutcome, services: Services) -> Done:
    return Done(result=await own_result(outcome, services), usage=outcome.usage, cost_usd=outcome.cost_usd)


def _event_id(job: Job) -> str:
    return "evt_" + job.id.removeprefix("job_")

"""Kind ``step``: one piece of a run's work over tables, or one effect: a notice, an event, another pipeline's run."""

import asyncio
from collections.abc import Awaitable, Callable

from forebay.domain.answer import Answer, Done, Failed, Retry, Taking
from forebay.domain.errors import NotFound, RequestError, TargetError, TargetRejected
from forebay.domain.job import ErrorCode, Job, JobError
from forebay.domain.pipeline import (
    TOO_MANY_FAILURES,
    StepKind,
    StepOutcome,
    StepWork,
    segments_of,
    step_work,
)
from forebay.engine.context import Context
from forebay.engine.handlers.effects import handle_call, handle_notify_step, handle_publish
from forebay.engine.handlers.results import own_result
from forebay.engine.services import Services
from forebay.policy.lifecycle import ended_by
from forebay.policy.steps.tolerance import is_tolerated

Effect = Callable[[Job, StepWork, Context], Awaitable[Answer]]
EFFECTS: dict[StepKind, Effect] = {
    StepKind.NOTIFY: handle_notify_step,
    StepKind.PUBLISH: handle_publish,
    StepKind.CALL: handle_call,
}


async def handle_step(job: Job, context: Context) -> Answer:
    """Does a step's work."""
    work, services = step_work(job.spec.args), context.services
    effect = EFFECTS.get(work.step.kind)
    try:
        if effect is not None:
            return await effect(job, work, context)
        if job.ending is not None:
            return Failed(error=ended_by(job.ending))
        if services.tables is None:
            raise RequestError("This process was opened without tables", code="not_supported")
        async with asyncio.timeout(min(job.spec.timeout_seconds, max(0.0, job.deadline - services.clock.now()))):
            outcome = await services.tables.run(work)
    except TimeoutError:
        message = f"The step did not end within {job.spec.timeout_seconds:g} s"
        return Retry(error=JobError(code=ErrorCode.TARGET_TIMEOUT, message=message))
    except (RequestError, TargetRejected) as refused:
        return Failed(error=JobError(code=_code(refused), message=str(refused)))
    except TargetError as error:
        return Retry(error=JobError(code=ErrorCode.TARGET_UNAVAILABLE, message=error.message))
    return await ended(work, outcome, services)


async def ended(work: StepWork, outcome: StepOutcome, services: Services) -> Done | Failed:
    """The answer of a step that has done its work: it fails where too many of its records did."""
    result = await own_result(outcome, services)
    taking = Taking(segments=segments_of(outcome.output))
    counts, tolerance = outcome.counts, work.step.tolerance
    if is_tolerated(counts, tolerance):
        return Done(result=result, taking=taking, usage=outcome.usage, cost_usd=outcome.cost_usd)
    message = f"{counts.failed} of {counts.entered} records failed, more than `tolerate_failures` allows"
    error = JobError(code=TOO_MANY_FAILURES, message=message)
    return Failed(error=error, result=result, taking=taking, usage=outcome.usage, cost_usd=outcome.cost_usd)


def _code(refused: RequestError | TargetRejected) -> str:
    if isinstance(refused, NotFound | TargetRejected):
        return ErrorCode.TARGET_REJECTED if isinstance(refused, TargetRejected) else "not_found"
    return refused.code

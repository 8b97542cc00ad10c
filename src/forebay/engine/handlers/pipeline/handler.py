"""The run's state machine. Every wake may run again: steps are unique by their names, and what was decided stands in
the progress.
"""

import msgspec

from forebay.domain.answer import Answer, Done, Failed, Snooze, Spawn, Taking
from forebay.domain.attempt import summed, summed_usd
from forebay.domain.job import ErrorCode, Job, JobError, Join
from forebay.domain.pipeline import STEP_FAILED, RunArgs, RunCursor, StepState, run_args, run_cursor, run_id
from forebay.engine.context import Context
from forebay.engine.handlers.pipeline.advance import Advance
from forebay.engine.handlers.results import own_result
from forebay.engine.services import Services
from forebay.engine.triggers.firing import seconds_until_turn
from forebay.policy.lifecycle import ended_by


async def handle_pipeline(job: Job, context: Context) -> Answer:
    """Does the next step of a run."""
    services, args, cursor = context.services, run_args(job.spec.args), run_cursor(job.progress)
    if job.ending is None and (seconds := await seconds_until_turn(job, args, services)) is not None:
        return Snooze(after_seconds=seconds)
    advance = Advance(job, args, cursor, services)
    await advance.look()
    if job.ending is None and advance.failed is None:
        await advance.begin()
    live = advance.live + len(advance.children)
    is_waiting = advance.wake_at is not None and advance.failed is None and job.ending is None
    if not live and not is_waiting:
        return await _end(job, args, cursor, advance, services)
    progress = _encoded(msgspec.structs.replace(cursor, steps=advance.states))
    if not live and not advance.segments and advance.wake_at is not None:
        return Snooze(after_seconds=max(0.0, advance.wake_at - services.clock.now()), progress=progress)
    is_ending = job.ending is not None or not live
    return Spawn(
        children=tuple(advance.children),
        join=Join() if is_ending else Join(live=live - 1, until=advance.wake_at),
        progress=progress,
        taking=Taking(segments=tuple(advance.segments)),
    )


async def _end(job: Job, args: RunArgs, cursor: RunCursor, advance: Advance, services: Services) -> Answer:
    error = ended_by(job.ending) if job.ending is not None else _error(advance)
    states = advance.states if error is None else advance.cancelled()
    outcomes = [state.outcome for state in states.values() if state.outcome is not None]
    usage, cost_usd = summed(one.usage for one in outcomes), summed_usd(one.cost_usd for one in outcomes)
    ended = msgspec.structs.replace(cursor, steps=advance.states, counted_usage=usage, counted_usd=cost_usd or 0.0)
    report = {"run_id": run_id(job.id), "pipeline": args.pipeline.name, "steps": _told(states)}
    result = await own_result(report, services)
    taking = Taking(segments=tuple(advance.segments))
    told = usage.minus(cursor.counted_usage) if usage and cursor.counted_usage else usage
    cost = None if cost_usd is None else cost_usd - cursor.counted_usd
    if error is not None:
        return Failed(error=error, result=result, taking=taking, progress=_encoded(ended), usage=told, cost_usd=cost)
    return Done(result=result, taking=taking, progress=_encoded(ended), usage=told, cost_usd=cost)


def _error(advance: Advance) -> JobError | None:
    """Why the run failed: its first failed step says it. A budget that was reached is the run's own."""
    name = advance.failed
    if name is None:
        return None
    error = advance.states[name].error
    if error is None:
        return JobError(code=STEP_FAILED, message=f"Step {name!r} was cancelled")
    if error.code == ErrorCode.BUDGET_EXCEEDED:
        return error
    return JobError(code=error.code, message=f"Step {name!r} failed: {error.message}")


def _told(states: dict[str, StepState]) -> dict[str, object]:
    """The steps as the result keeps them: how they ended and what they made, without the values."""
    return {
        name: {
            "status": state.status,
            "records": state.outcome.counts if state.outcome else None,
            "files": state.outcome.output.files if state.outcome else (),
            "sources": state.outcome.output.sources if state.outcome else (),
            "from_run": state.from_run,
        }
        for name, state in states.items()
    }


def _encoded(cursor: RunCursor) -> str:
    return msgspec.json.encode(cursor).decode()

"""The batch's state machine: validating, in progress, finalizing. Each run is one step; its cursor is the progress.

Every step may run again from the same cursor: children are unique by their line, finished ones are taken over once, and
a blob written by a run that ended before its commit has no reference.
"""

import msgspec

from forebay.domain.answer import Answer, Failed, Spawn
from forebay.domain.batch import ERRORS, OUTPUT, BatchArgs, Cursor, Phase, Report, args_of, cursor_of
from forebay.domain.change import Tally
from forebay.domain.job import ErrorCode, Job, JobError, Join, Status
from forebay.domain.query import JobQuery
from forebay.engine.context import Context
from forebay.engine.handlers.batch.ending import finish, refusal_of, report_result
from forebay.engine.handlers.batch.files import open_file
from forebay.engine.handlers.batch.sending import Refill, refill
from forebay.engine.handlers.batch.taking import Takeover, errors_segment, take_over
from forebay.engine.handlers.batch.validating import validate
from forebay.engine.services import Services
from forebay.policy.window import LARGEST, items_a_step, next_window, publish_at, wake_at

AT_ONCE = Join(live=2 * LARGEST)  # met already: there is more to do


async def handle_batch(job: Job, context: Context) -> Answer:
    """Does the next step of a batch."""
    services = context.services
    args, cursor = args_of(job.spec.args), cursor_of(job.progress)
    if cursor.phase is Phase.VALIDATING:
        return await _validate(job, args, cursor, services)
    if cursor.live is not None and job.ending is None:
        return await _progress(job, args, cursor, cursor.live, services)
    # The tally comes before anything is read: what finishes after it is counted as live, and is waited for.
    [tally] = await services.jobs.tally([job.id])
    if cursor.phase is Phase.FINALIZING and not _has_changed(job, tally):
        return await finish(job, args, cursor, tally, services)
    return await _progress(job, args, cursor, tally.live, services)


async def _validate(job: Job, args: BatchArgs, cursor: Cursor, services: Services) -> Answer:
    verdict = await validate(args, services)
    if verdict.errors:
        error = JobError(code=ErrorCode.INVALID_INPUT, message=refusal_of(verdict.errors))
        return Failed(error=error, result=await report_result(Report(errors=verdict.errors), services))
    await open_file(job, OUTPUT, services)
    now = services.clock.now()
    started = msgspec.structs.replace(
        cursor, phase=Phase.IN_PROGRESS, total=verdict.total, input_bytes=verdict.input_bytes, in_progress_at=now
    )
    return Spawn(join=AT_ONCE, progress=_encoded(started))


async def _progress(job: Job, args: BatchArgs, cursor: Cursor, live: int, services: Services) -> Answer:
    """Takes over what has finished and sends on. ``live``: how many lines are, at most."""
    most = items_a_step(services.jobs.facts.max_items_per_change)
    takeover = await take_over(job, most, services)
    is_starved = live > 0 and cursor.live is None and await _is_starved(job, services)
    now = services.clock.now()
    slots = _slots(args, services)
    window = next_window(cursor.window, slots=slots, refilled_at=cursor.refilled_at, now=now, is_starved=is_starved)
    room = 0 if job.ending else min(window - live, most)
    filled = await refill(job, args, cursor, room, services)
    if refused := await errors_segment(filled.refused, services):
        await open_file(job, ERRORS, services)
        takeover.segments.append(refused)
    live += len(filled.children)
    after = msgspec.structs.replace(filled.cursor, live=None)
    if live == 0 and takeover.is_complete and (job.ending or after.is_all_sent):
        after = msgspec.structs.replace(after, phase=Phase.FINALIZING, finalizing_at=now)
        return Spawn(join=AT_ONCE, progress=_encoded(after), taking=takeover.taking())
    is_filled = live >= window or after.is_all_sent or (filled.is_at_bytes and not is_starved)
    if filled.children:
        after = msgspec.structs.replace(after, window=window, refilled_at=now if is_filled else None)
    after = msgspec.structs.replace(after, phase=Phase.IN_PROGRESS)
    join = _join(job, live, window, takeover, filled, now)
    if not is_filled and job.ending is None:
        after, join = msgspec.structs.replace(after, live=live), AT_ONCE
    return Spawn(
        children=tuple(filled.children),
        join=join,
        progress=_encoded(after),
        taking=takeover.taking(),
    )


def _join(job: Job, live: int, window: int, takeover: Takeover, filled: Refill, now: float) -> Join:
    if not takeover.is_complete or live == 0:
        return AT_ONCE
    if job.ending is not None:
        return Join()
    cursor = filled.cursor
    return Join(
        live=wake_at(live, window, is_shrunk=cursor.is_all_sent or filled.is_at_bytes),
        until=publish_at(cursor.in_progress_at or now, now),
    )


async def _is_starved(job: Job, services: Services) -> bool:
    """Whether all that is live is being called: the newest line is, and lines are claimed as they were sent."""
    live = frozenset({Status.QUEUED, Status.RUNNING})
    query = JobQuery(tenant=job.tenant, parent_id=job.id, is_collected=False, statuses=live, limit=1)
    newest = await services.jobs.find(query)
    return bool(newest) and newest[0].status is Status.RUNNING


def _has_changed(job: Job, tally: Tally) -> bool:
    """Whether a dead letter was retried while the batch was about to end: it is waited for."""
    dead = tally.failed + tally.cancelled
    return tally.live > 0 or tally.succeeded > job.taken.succeeded or dead > (job.taken.failed + job.taken.cancelled)


def _slots(args: BatchArgs, services: Services) -> int:
    """How many calls the lanes that may serve the batch are known to allow; learned limits show in its pace."""
    named = services.specs.get(args.target) if args.target else None
    specs = [named] if named else list(services.specs.values())
    return max((spec.limits.concurrency or 0 for spec in specs), default=0)


def _encoded(cursor: Cursor) -> str:
    return msgspec.json.encode(cursor).decode()

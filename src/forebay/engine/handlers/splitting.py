"""Splitting: a job whose function answered ``forebay.Spawn`` waits for children, and calls it again with what they did.

The job stays in its target's queue; with its first children it is a group. Between two calls it holds no slot. The
children stand in the same transaction as the cursor: a call that a crash cut short is made again, no child twice.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from forebay.domain.answer import Answer, Done, Failed, Retry, Snooze, Spawn
from forebay.domain.attempt import Outcome
from forebay.domain.fanout import Branch, Cursor, FanoutArgs, OnFailure
from forebay.domain.job import ErrorCode, Job, JobError, Join, OnUnknown
from forebay.domain.query import Parts
from forebay.domain.spawning import Decomposition, SplitCursor, split_cursor
from forebay.engine.handlers.branches import Sums, children_of, counted, entries_of, standing_of, with_left_out
from forebay.engine.services import Services
from forebay.engine.spawning import make_parts, refusal_of
from forebay.policy.aggregate import shown
from forebay.policy.joining import decide_join
from forebay.policy.lifecycle import ended_by
from forebay.policy.spawning import renamed


class Resumed(NamedTuple):
    """A job whose children are done: what its function is told of them, and what it has not counted of their costs."""

    children: Mapping[str, Any]
    cursor: SplitCursor
    sums: Sums


async def resume(job: Job, services: Services) -> Resumed | Answer:
    """Where a job stands that split its task: it waits on, it ends, or its function is to be called again."""
    cursor = split_cursor(job.progress or "")
    children = await children_of(job, services)
    now = services.clock.now()
    if job.ending is not None or now >= job.deadline:
        return _with_sums(Failed(error=ended_by(job.ending)), cursor, counted(cursor.joined, children))
    present = set(cursor.args.names)
    of_round = [child for child in children if child.key.partition(":")[2] in present]
    standing = standing_of(cursor.args, of_round, is_late=cursor.until is not None and now >= cursor.until)
    decided = decide_join(cursor.args, standing, job.deadline if cursor.until is None else cursor.until)
    if isinstance(decided, Join):
        return Spawn(join=decided, progress=_encoded(cursor))
    joined = with_left_out(cursor.joined, decided, of_round)
    if decided.error is not None and cursor.args.on_failure is OnFailure.FAIL:
        return _with_sums(Failed(error=decided.error), cursor, counted(cursor.joined, children))
    if job.spec.on_unknown is OnUnknown.HOLD and await _is_in_doubt(job, services):
        message = "The worker ended in the middle of the function's call with its children's results"
        error = JobError(code=ErrorCode.OUTCOME_UNKNOWN, message=message)
        return _with_sums(Failed(error=error), cursor, counted(cursor.joined, children))
    if live := [child.id for child in of_round if not child.is_terminal]:
        await services.jobs.cancel(job.tenant, live)
    entries = shown(await entries_of(cursor.names, joined, children, services))
    told = msgspec.json.decode(msgspec.json.encode(entries))
    return Resumed(told, cursor, counted(cursor.joined, children))


async def split(job: Job, wanted: Decomposition, resumed: Resumed | None, services: Services) -> Answer:
    """The answer of a call that split its task (again)."""
    earlier = resumed.cursor.names if resumed else ()
    wanted = renamed(wanted, earlier)
    if refused := await refusal_of(job, wanted, earlier, services):
        return with_sums(Failed(error=refused), resumed)
    children, unmade = await make_parts(job, wanted, services)
    args = FanoutArgs(
        branches=tuple(Branch(name=part.name) for part in wanted.parts),
        successes=wanted.successes,
        on_failure=wanted.on_failure,
    )
    joined = resumed.cursor.joined if resumed else Cursor()
    until = None if wanted.deadline_seconds is None else services.clock.now() + wanted.deadline_seconds
    cursor = SplitCursor(
        args=args,
        joined=replace(joined, refused={**joined.refused, **unmade}),
        earlier=earlier,
        until=until,
    )
    standing = standing_of(args, children, is_late=False)
    decided = decide_join(args, standing, job.deadline if until is None else until)
    join = decided if isinstance(decided, Join) else Join(live=len(children))
    return Spawn(children=children, join=join, progress=_encoded(cursor))


def with_sums(answer: Answer, resumed: Resumed | None) -> Answer:
    """The answer with what the children used, and the cursor kept: a retry begins where this run began."""
    if resumed is None:
        return answer
    return _with_sums(answer, resumed.cursor, resumed.sums)


def _with_sums(answer: Answer, cursor: SplitCursor, sums: Sums) -> Answer:
    match answer:
        case Done() | Failed() | Retry():
            feedback = answer.progress if isinstance(answer, Retry) else None
            kept = replace(cursor, joined=sums.cursor, feedback=feedback)
            return replace(answer, usage=sums.usage, cost_usd=sums.cost_usd, progress=_encoded(kept))
        case Snooze(progress=str(feedback)):  # the sums are added when it ends
            return replace(answer, progress=_encoded(replace(cursor, feedback=feedback)))
    return answer


async def _is_in_doubt(job: Job, services: Services) -> bool:
    """Whether the last call's end is unknown: the store asks this of leaves alone."""
    [known] = await services.jobs.get(job.tenant, [job.id], Parts(attempts=True))
    return known is not None and bool(known.attempts) and known.attempts[-1].outcome is Outcome.UNKNOWN


def _encoded(cursor: SplitCursor) -> str:
    return msgspec.json.encode(cursor).decode()

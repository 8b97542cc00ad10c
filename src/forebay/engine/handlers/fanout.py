"""Kind ``fanout``: one message goes to several targets at once, and what they answer comes back as one.

Its first run makes the branches, each a job of its own; it is woken when they may have decided the join. Every run may
run again: branches are unique by their names, and what was decided stands in the progress.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from forebay.domain.answer import Answer, Done, Failed, Spawn
from forebay.domain.errors import RequestError
from forebay.domain.fanout import (
    AGGREGATE_KEY,
    Cursor,
    Document,
    FanoutArgs,
    How,
    cursor_of,
    fanout_args,
)
from forebay.domain.job import Ending, ErrorCode, Job, JobError, Join, Status
from forebay.engine.context import Context
from forebay.engine.fanouts import make_branch
from forebay.engine.handlers.branches import (
    NULL,
    body_of,
    children_of,
    counted,
    entries_of,
    standing_of,
    with_left_out,
)
from forebay.engine.handlers.results import own_result
from forebay.engine.intake import load_text
from forebay.engine.services import Services
from forebay.policy.aggregate import aggregated, shown
from forebay.policy.joining import Standing, decide_join


async def handle_fanout(job: Job, context: Context) -> Answer:
    """Does the next step of a fan-out."""
    services, args, cursor = context.services, fanout_args(job.spec.args), cursor_of(job.progress)
    if cursor is None:
        if job.ending is not None:
            return await _end(job, args, Cursor(code=_code(job)), [], services)
        return await _fan_out(job, args, services)
    children = await children_of(job, services)
    if job.ending is not None:
        ended = msgspec.structs.replace(cursor, code=cursor.code or _code(job), is_aggregating=False)
        return await _end(job, args, ended, children, services)
    if cursor.is_aggregating and _is_summing_up(job, children, services):  # retried: it is queued again
        return Spawn(join=Join(until=job.deadline), progress=_encoded(cursor))
    if cursor.is_aggregating:
        return await _end(job, args, cursor, children, services)
    until = job.deadline - args.leeway_seconds
    standing = standing_of(args, children, is_late=services.clock.now() >= until)
    decided = decide_join(args, standing, until)
    if isinstance(decided, Join):
        return Spawn(join=decided, progress=_encoded(cursor))
    return await _decided(job, args, with_left_out(cursor, decided, children), children, services)


async def _fan_out(job: Job, args: FanoutArgs, services: Services) -> Answer:
    text = await _own_text(job, services)
    scope = _object(text)
    children: list[Job] = []
    refused: dict[str, JobError] = {}
    for branch in args.branches:
        try:
            children.append(await make_branch(job, branch, scope, text, services))
        except RequestError as error:  # one branch's fault is its own
            refused[branch.name] = JobError(code=error.code, message=error.message)
    cursor = Cursor(refused=refused)
    standing = Standing(succeeded=0, dead=len(refused), live=len(children), is_late=False)
    decided = decide_join(args, standing, job.deadline - args.leeway_seconds)
    if isinstance(decided, Join):
        return Spawn(children=tuple(children), join=decided, progress=_encoded(cursor))
    return await _decided(job, args, with_left_out(cursor, decided, []), [], services)


async def _decided(job: Job, args: FanoutArgs, cursor: Cursor, children: list[Job], services: Services) -> Answer:
    """Ends, or lets a target sum up first."""
    branch = args.aggregation.branch
    if branch is None or cursor.error is not None:
        return await _end(job, args, cursor, children, services)
    live = [child.id for child in children if not child.is_terminal]
    if live:
        await services.jobs.cancel(job.tenant, live)
    entries = await entries_of(args.names, cursor, children, services)
    scope = {"results": msgspec.json.decode(msgspec.json.encode(shown(entries)))}
    scope["event"] = _object(await _own_text(job, services))
    try:
        child = await make_branch(job, branch, scope, "{}", services)
    except RequestError as error:
        failed = msgspec.structs.replace(cursor, error=JobError(code=error.code, message=error.message))
        return await _end(job, args, failed, children, services)
    child = msgspec.structs.replace(child, key=AGGREGATE_KEY)
    # The branches that were cancelled are waited for too: their ends are entries.
    return Spawn(
        children=(child,),
        join=Join(until=job.deadline),
        progress=_encoded(msgspec.structs.replace(cursor, is_aggregating=True)),
    )


async def _end(job: Job, args: FanoutArgs, cursor: Cursor, children: list[Job], services: Services) -> Answer:
    """The answer, with every branch's entry: also where the whole failed."""
    entries = await entries_of(args.names, cursor, children, services)
    body = _raw(aggregated(args.aggregation, entries))
    error = cursor.error
    if args.aggregation.how is How.TARGET:
        body, failure = await _summed_up(children, services)
        error = error or (failure if cursor.is_aggregating else None)
    branches = msgspec.UNSET if args.aggregation.how is How.COLLECT else _raw(shown(entries))
    document = Document(body=body, branches=branches)
    result = await own_result(document, services)
    sums = counted(cursor_of(job.progress) or Cursor(), children)
    progress = _encoded(sums.cursor) if job.progress else None
    if error is not None:
        return Failed(error=error, result=result, usage=sums.usage, cost_usd=sums.cost_usd, progress=progress)
    return Done(result=result, usage=sums.usage, cost_usd=sums.cost_usd, progress=progress)


def _is_summing_up(job: Job, children: Sequence[Job], services: Services) -> bool:
    is_in_time = services.clock.now() < job.deadline
    return is_in_time and any(child.key == AGGREGATE_KEY and not child.is_terminal for child in children)


async def _summed_up(children: Sequence[Job], services: Services) -> tuple[msgspec.Raw, JobError | None]:
    """What the target that sums up has answered, or why there is nothing."""
    for child in children:
        if child.key == AGGREGATE_KEY and child.status is Status.SUCCEEDED:
            return await body_of(child, services), None
        if child.key == AGGREGATE_KEY and child.is_terminal:
            return NULL, child.error
    return NULL, JobError(code=ErrorCode.EXPIRED, message="The deadline passed before the results were summed up")


def _code(job: Job) -> str:
    return ErrorCode.CANCELLED if job.ending is Ending.CANCEL else ErrorCode.EXPIRED


async def _own_text(job: Job, services: Services) -> str:
    return "{}" if job.body is None else await load_text(job.body, services.blobs)


def _object(text: str) -> dict[str, Any]:
    value = msgspec.json.decode(text)
    return value if isinstance(value, dict) else {}


def _raw(value: Any) -> msgspec.Raw:
    return value if isinstance(value, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(value))


def _encoded(cursor: Cursor) -> str:
    return msgspec.json.encode(cursor).decode()

"""Kind ``fanout``: one message goes to several targets at once, and what they answer comes back as one.

Its first run makes the branches, each a job of its own; it is woken when they may have decided the join. Every run may
run again: branches are unique by their names, and what was decided stands in the progress.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from forebay.domain.answer import Answer, Done, Failed, Spawn
from forebay.domain.attempt import Usage
from forebay.domain.errors import NotFound, RequestError
from forebay.domain.fanout import (
    AGGREGATE_KEY,
    BRANCH_KEY,
    MOST_BRANCHES,
    NOT_NEEDED,
    Cursor,
    Document,
    Entry,
    FanoutArgs,
    How,
    cursor_of,
    fanout_args,
)
from forebay.domain.job import Ending, ErrorCode, Job, JobError, Join, Result, Status
from forebay.domain.query import JobQuery, Parts
from forebay.engine.context import Context
from forebay.engine.fanouts import make_branch
from forebay.engine.intake import load_text, store_text
from forebay.engine.services import Services
from forebay.policy.aggregate import aggregated, shown
from forebay.policy.joining import Decision, Standing, decide_join

_NULL = msgspec.Raw(b"null")


async def handle_fanout(job: Job, context: Context) -> Answer:
    """Does the next step of a fan-out."""
    services, args, cursor = context.services, fanout_args(job.spec.args), cursor_of(job.progress)
    if cursor is None:
        if job.ending is not None:
            return await _end(args, Cursor(code=_code(job)), [], services)
        return await _fan_out(job, args, services)
    children = await _children(job, services)
    if job.ending is not None:
        ended = msgspec.structs.replace(cursor, code=cursor.code or _code(job), is_aggregating=False)
        return await _end(args, ended, children, services)
    if cursor.is_aggregating:
        return await _end(args, cursor, children, services)
    until = job.deadline - args.leeway_seconds
    standing = _standing(args, children, is_late=services.clock.now() >= until)
    decided = decide_join(args, standing, until)
    if isinstance(decided, Join):
        return Spawn(join=decided, progress=_encoded(cursor))
    return await _decided(job, args, _left(cursor, decided, children), children, services)


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
    return await _decided(job, args, _left(cursor, decided, []), [], services)


async def _decided(job: Job, args: FanoutArgs, cursor: Cursor, children: list[Job], services: Services) -> Answer:
    """Ends, or lets a target sum up first."""
    branch = args.aggregation.branch
    if branch is None or cursor.error is not None:
        return await _end(args, cursor, children, services)
    live = [child.id for child in children if not child.is_terminal]
    if live:
        await services.jobs.cancel(job.tenant, live)
    entries = await _entries(args, cursor, children, services)
    scope = {"results": msgspec.json.decode(msgspec.json.encode(shown(entries)))}
    scope["event"] = _object(await _own_text(job, services))
    try:
        child = await make_branch(job, branch, scope, "{}", services)
    except RequestError as error:
        failed = msgspec.structs.replace(cursor, error=JobError(code=error.code, message=error.message))
        return await _end(args, failed, children, services)
    child = msgspec.structs.replace(child, key=AGGREGATE_KEY)
    # The branches that were cancelled are waited for too: their ends are entries.
    return Spawn(
        children=(child,),
        join=Join(until=job.deadline),
        progress=_encoded(msgspec.structs.replace(cursor, is_aggregating=True)),
    )


async def _end(args: FanoutArgs, cursor: Cursor, children: list[Job], services: Services) -> Answer:
    """The answer, with every branch's entry: also where the whole failed."""
    entries = await _entries(args, cursor, children, services)
    body = _raw(aggregated(args.aggregation, entries))
    error = cursor.error
    if args.aggregation.how is How.TARGET:
        body, failure = await _summed_up(children, services)
        error = error or (failure if cursor.is_aggregating else None)
    branches = msgspec.UNSET if args.aggregation.how is How.COLLECT else _raw(shown(entries))
    document = Document(body=body, branches=branches)
    result = Result(status_code=None, body=await store_text(msgspec.json.encode(document).decode(), services.blobs))
    usage, cost = _sums(children)
    if error is not None:
        return Failed(error=error, result=result, usage=usage, cost_usd=cost)
    return Done(result=result, usage=usage, cost_usd=cost)


async def _summed_up(children: Sequence[Job], services: Services) -> tuple[msgspec.Raw, JobError | None]:
    """What the target that sums up has answered, or why there is nothing."""
    for child in children:
        if child.key == AGGREGATE_KEY and child.status is Status.SUCCEEDED:
            return await _body(child, services), None
        if child.key == AGGREGATE_KEY and child.is_terminal:
            return _NULL, child.error
    return _NULL, JobError(code=ErrorCode.EXPIRED, message="The deadline passed before the results were summed up")


async def _children(job: Job, services: Services) -> list[Job]:
    query = JobQuery(
        tenant=job.tenant,
        parent_id=job.id,
        is_ascending=True,
        limit=MOST_BRANCHES + 1,
        parts=Parts(result=True),
    )
    return await services.jobs.find(query)


async def _entries(args: FanoutArgs, cursor: Cursor, children: Sequence[Job], services: Services) -> list[Entry]:
    """One for each branch, in the order of ``send``."""
    by_key = {child.key: child for child in children}
    return [
        await _entry(branch.name, by_key.get(BRANCH_KEY + branch.name), cursor, services) for branch in args.branches
    ]


async def _entry(name: str, child: Job | None, cursor: Cursor, services: Services) -> Entry:
    if child is None:
        unmade = JobError(code=cursor.code or NOT_NEEDED, message="The branch was not begun")
        refused = cursor.refused.get(name)
        return Entry(name=name, status=Status.FAILED if refused else Status.CANCELLED, error=refused or unmade)
    if child.status is Status.SUCCEEDED and name not in cursor.left_out:
        body = await _body(child, services)
        return Entry(
            name=name,
            status=child.status,
            job_id=child.id,
            body=body,
            cost_usd=child.cost_usd,
            finished_at=child.finished_at,
        )
    if name in cursor.left_out or not child.is_terminal:
        error = JobError(code=cursor.code or NOT_NEEDED, message=_WHY.get(cursor.code or "", "It was not waited for"))
        return Entry(name=name, status=Status.CANCELLED, job_id=child.id, error=error, cost_usd=child.cost_usd)
    return Entry(name=name, status=child.status, job_id=child.id, error=child.error, cost_usd=child.cost_usd)


async def _body(child: Job, services: Services) -> msgspec.Raw:
    if child.result is None:
        return _NULL
    try:
        return msgspec.Raw((await load_text(child.result.body, services.blobs)).encode() or b"null")
    except NotFound:  # erased meanwhile
        return _NULL


def _standing(args: FanoutArgs, children: Sequence[Job], *, is_late: bool) -> Standing:
    succeeded = sum(child.status is Status.SUCCEEDED for child in children)
    live = sum(not child.is_terminal for child in children)
    return Standing(succeeded=succeeded, dead=len(args.branches) - succeeded - live, live=live, is_late=is_late)


def _left(cursor: Cursor, decision: Decision, children: Sequence[Job]) -> Cursor:
    live = tuple(child.key.removeprefix(BRANCH_KEY) for child in children if not child.is_terminal)
    return msgspec.structs.replace(cursor, left_out=live, code=decision.code, error=decision.error)


def _code(job: Job) -> str:
    return ErrorCode.CANCELLED if job.ending is Ending.CANCEL else ErrorCode.EXPIRED


def _sums(children: Sequence[Job]) -> tuple[Usage | None, float | None]:
    """What the branches used and cost, as far as it is known."""
    usage: Usage | None = None
    for child in children:
        if child.usage is not None:
            usage = child.usage if usage is None else usage.plus(child.usage)
    costs = [child.cost_usd for child in children if child.cost_usd is not None]
    return usage, sum(costs) if costs else None


async def _own_text(job: Job, services: Services) -> str:
    return "{}" if job.body is None else await load_text(job.body, services.blobs)


def _object(text: str) -> dict[str, Any]:
    value = msgspec.json.decode(text)
    return value if isinstance(value, dict) else {}


def _raw(value: Any) -> msgspec.Raw:
    return value if isinstance(value, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(value))


def _encoded(cursor: Cursor) -> str:
    return msgspec.json.encode(cursor).decode()


_WHY = {
    "not_needed": "The others had decided the join",
    "join_deadline": "The join's deadline passed before it was done",
    ErrorCode.CANCELLED: "The fan-out was cancelled",
    ErrorCode.EXPIRED: "The fan-out's deadline passed",
}

"""Branches: the children that a group waits for, read back as entries. Of fan-outs, and of tasks that were split."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from forebay.domain.attempt import Usage, summed, summed_usd
from forebay.domain.errors import NotFound
from forebay.domain.fanout import (
    BRANCH_KEY,
    FANOUT,
    MOST_BRANCHES,
    NOT_NEEDED,
    Cursor,
    Document,
    Entry,
    FanoutArgs,
)
from forebay.domain.job import ErrorCode, Job, JobError, Status
from forebay.domain.query import JobQuery, Parts
from forebay.engine.intake import load_text
from forebay.engine.services import Services
from forebay.policy.joining import Decision, Standing

NULL = msgspec.Raw(b"null")
_WHY = {
    "not_needed": "The others had decided the join",
    "join_deadline": "The join's deadline passed before it was done",
    ErrorCode.CANCELLED: "The fan-out was cancelled",
    ErrorCode.EXPIRED: "The fan-out's deadline passed",
}


async def children_of(job: Job, services: Services) -> list[Job]:
    """All children, in the order of their making, with their results."""
    query = JobQuery(
        tenant=job.tenant,
        parent_id=job.id,
        is_ascending=True,
        limit=MOST_BRANCHES + 1,
        parts=Parts(result=True),
    )
    return await services.jobs.find(query)


async def entries_of(names: Sequence[str], cursor: Cursor, children: Sequence[Job], services: Services) -> list[Entry]:
    """One for each branch, in the order of the names."""
    by_key = {child.key: child for child in children}
    return [await _entry(name, by_key.get(BRANCH_KEY + name), cursor, services) for name in names]


async def body_of(child: Job, services: Services) -> msgspec.Raw:
    """What a child answered; of a fan-out, what its branches came to."""
    if child.result is None:
        return NULL
    try:
        text = (await load_text(child.result.body, services.blobs)).encode() or b"null"
    except NotFound:  # erased meanwhile
        return NULL
    return msgspec.json.decode(text, type=Document).body if child.kind == FANOUT else msgspec.Raw(text)


def standing_of(args: FanoutArgs, children: Sequence[Job], *, is_late: bool) -> Standing:
    succeeded = sum(child.status is Status.SUCCEEDED for child in children)
    live = sum(not child.is_terminal for child in children)
    return Standing(succeeded=succeeded, dead=len(args.branches) - succeeded - live, live=live, is_late=is_late)


def with_left_out(cursor: Cursor, decision: Decision, children: Sequence[Job]) -> Cursor:
    """The cursor after the decision: who was live then is not waited for."""
    live = tuple(child.key.removeprefix(BRANCH_KEY) for child in children if not child.is_terminal)
    return replace(cursor, left_out=live, code=decision.code, error=decision.error)


class Sums(NamedTuple):
    """What the branches used and cost beyond what is counted, as far as it is known; and the cursor that counts it."""

    usage: Usage | None
    cost_usd: float | None
    cursor: Cursor


def counted(cursor: Cursor, children: Sequence[Job]) -> Sums:
    """What the group's own sums lack: a group that was retried has counted its children before."""
    usage, cost = summed(child.usage for child in children), summed_usd(child.cost_usd for child in children)
    fresh = replace(cursor, counted_usage=usage or cursor.counted_usage, counted_usd=cost or cursor.counted_usd)
    if usage is not None and cursor.counted_usage is not None:
        usage = usage.minus(cursor.counted_usage)
    return Sums(usage, None if cost is None else cost - cursor.counted_usd, fresh)


async def _entry(name: str, child: Job | None, cursor: Cursor, services: Services) -> Entry:
    if child is None:
        unmade = JobError(code=cursor.code or NOT_NEEDED, message="The branch was not begun")
        refused = cursor.refused.get(name)
        return Entry(name=name, status=Status.FAILED if refused else Status.CANCELLED, error=refused or unmade)
    if child.status is Status.SUCCEEDED and name not in cursor.left_out:
        body = await body_of(child, services)
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

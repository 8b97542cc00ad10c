"""The verb ``add``, which also adds spawned children and the notices of ended jobs."""

from collections.abc import Iterable, Sequence
from typing import Any

from asyncpg import SerializationError

from forebay.domain.change import Added
from forebay.domain.job import Ending, ErrorCode, Job, JobError, Status
from forebay.domain.lane import ready_topics
from forebay.stores.ends import end_of
from forebay.stores.postgres.labels import labels
from forebay.stores.postgres.placing import assign_ranks, give_back
from forebay.stores.postgres.transaction import Tx
from forebay.stores.rows import cost, decode_fixed, encode_fixed, urgency


async def add_calls(tx: Tx, calls: Sequence[Sequence[Job]]) -> list[list[Added]]:
    """Runs the adds of one commit as one."""
    if len(calls) == 1:
        return [await add_jobs(tx, calls[0])]
    replies = iter(await add_jobs(tx, [job for jobs in calls for job in jobs]))
    return [[next(replies) for _ in jobs] for jobs in calls]


async def add_jobs(tx: Tx, jobs: Sequence[Job]) -> list[Added]:
    """Adds jobs; parents before the children that came with them."""
    named = {job.id for job in jobs}
    if not any(job.parent_id in named for job in jobs if job.parent_id):
        return await _add_wave(tx, jobs)
    replies: dict[int, Added] = {}
    left = list(enumerate(jobs))
    while left:
        waiting = {job.id for _, job in left}
        wave = [(place, job) for place, job in left if job.parent_id not in waiting] or left
        for (place, _), added in zip(wave, await _add_wave(tx, [job for _, job in wave]), strict=True):
            replies[place] = added
        placed = {place for place, _ in wave}
        left = [item for item in left if item[0] not in placed]
    return [replies[place] for place in range(len(jobs))]


class _Entry:
    """One job on its way in: the state it enters with."""

    __slots__ = ("deadline", "due_at", "error", "job", "rank", "status")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.status = Status.QUEUED
        self.error: JobError | None = None
        self.deadline = job.deadline
        self.due_at = job.due_at if job.not_before is None else max(job.due_at, job.not_before)
        self.rank: float | None = None


async def _add_wave(tx: Tx, jobs: Sequence[Job]) -> list[Added]:
    if not jobs:
        return []
    entries = [_Entry(job) for job in jobs]
    await _heed_parents(tx, entries)
    due = [entry for entry in entries if entry.status is Status.QUEUED and entry.due_at <= tx.now]
    if due:
        ranks = await assign_ranks(tx, [_charge(entry.job) for entry in due])
        for entry, rank in zip(due, ranks, strict=True):
            entry.rank = rank
    new = {row[0] for row in await tx.bulk("add.insert_jobs_telling", [_row(tx, entry) for entry in entries])}
    if len(new) == len(entries):
        await _insert_parts(tx, entries)
        return [_new(entry) for entry in entries]
    return await _add_the_new(tx, entries, new)


async def _add_the_new(tx: Tx, entries: list[_Entry], new: set[str]) -> list[Added]:
    """The way for adds some of which existed already."""
    fresh: dict[int, _Entry] = {}
    for place, entry in enumerate(entries):
        if entry.job.id in new:
            new.discard(entry.job.id)
            fresh[place] = entry
    await _insert_parts(tx, list(fresh.values()))
    old = [(place, entry.job) for place, entry in enumerate(entries) if place not in fresh]
    await give_back(tx, [_charge(job) for place, job in old if entries[place].rank is not None])
    asked = [(place, job.id, job.tenant, job.parent_id, job.key) for place, job in old]
    found = {row[0]: row for row in await tx.bulk("add.existing", asked)}
    if len(found) < len(old):  # it was pruned between the two statements
        raise SerializationError("a job that had this id or key was deleted in this moment")
    replies: list[Added] = []
    for place, entry in enumerate(entries):
        if place in fresh:
            replies.append(_new(entry))
        else:
            _, job_id, state, fixed = found[place]
            mark = decode_fixed(fixed).fingerprint
            replies.append(Added(id=job_id, is_new=False, status=Status(state), fingerprint=mark))
    return replies


def _new(entry: _Entry) -> Added:
    return Added(id=entry.job.id, is_new=True, status=entry.status, fingerprint=entry.job.fingerprint)


async def _heed_parents(tx: Tx, entries: Iterable[_Entry]) -> None:
    """A child of an ended parent, or of one with an ending, enters as ended in that way; deadlines are inherited."""
    children = [entry for entry in entries if entry.job.parent_id]
    if not children:
        return
    parents = {
        row[0]: row[1:] for row in await tx.bulk("add.parents", list({entry.job.parent_id for entry in children}))
    }
    for entry in children:
        parent = parents.get(entry.job.parent_id)
        ending = _ending_by(parent)
        if ending is not None:
            entry.status, entry.error = end_of(ending)
        if parent is not None and parent[3] < entry.deadline:
            entry.deadline = parent[3]


def _ending_by(parent: tuple[Any, ...] | None) -> Ending | None:
    """What a parent's (status, ending, error code, deadline) does to a new child; one without a row has ended."""
    if parent is None:
        return Ending.CANCEL
    status, ending, code, _ = parent
    if ending is not None:
        return Ending(ending)
    if not Status(status).is_terminal:
        return None
    return Ending.EXPIRE if code == ErrorCode.EXPIRED else Ending.CANCEL


def _charge(job: Job) -> tuple[str, str, float]:
    return job.queue, job.tenant, cost(job)


def _row(tx: Tx, entry: _Entry) -> tuple[Any, ...]:
    job = entry.job
    error = entry.error
    return (
        job.id,
        job.tenant,
        job.parent_id,
        job.key or (job.id if job.parent_id else ""),
        job.kind,
        job.queue,
        job.origin,
        job.is_group,
        urgency(job),
        cost(job),
        job.created_at,
        entry.deadline,
        entry.due_at,
        entry.rank,
        encode_fixed(job),
        0 if job.parent_id else len(job.on_end),
        job.progress,
        entry.status,
        None if error is None else tx.now,
        None if error is None else error.code,
        None if error is None else error.message,
        job.spec.target,
        job.spec.model,
        labels(job.spec.metadata),
    )


async def _insert_parts(tx: Tx, entries: list[_Entry]) -> None:
    bodies: list[tuple[str, str | None, str | None, int]] = []
    refs: list[tuple[str, str, str]] = []
    ready: list[tuple[str, bool, int, float, str, float | None, float]] = []
    later: list[tuple[float, str, str, float]] = []
    for entry in entries:
        job = entry.job
        if job.body is not None:
            bodies.append((job.id, job.body.text, job.body.blob_id, job.body.bytes))
            if job.body.blob_id is not None:
                refs.append((job.id, "body", job.body.blob_id))
        refs += [(job.id, "job", blob_id) for blob_id in job.blobs]
        if entry.rank is not None:
            deadline = None if job.is_group else entry.deadline
            ready.append((job.queue, False, urgency(job), entry.rank, job.id, deadline, job.created_at))
            tx.topics.update(ready_topics(job.queue))
        elif entry.status is Status.QUEUED:
            later.append((entry.due_at, job.id, job.queue, job.created_at))
        else:
            tx.topics.add("job:" + job.id)
    for name, rows in (
        ("add.insert_bodies", bodies),
        ("add.insert_refs", refs),
        ("ready.insert_ready", ready),
        ("ready.insert_later", later),
    ):
        await tx.bulk(name, rows)

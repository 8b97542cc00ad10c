"""The verb ``add``, which also adds spawned children and the notices of ended jobs."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from forebay.domain.change import Added
from forebay.domain.job import Ending, ErrorCode, Job, JobError, Status
from forebay.domain.lane import ready_topics
from forebay.stores.ends import end_of
from forebay.stores.rows import cost, encode_fixed, urgency
from forebay.stores.sqlite.placing import assign_ranks, give_back
from forebay.stores.sqlite.transaction import Binding, Redo, Tx

JOB_COLUMNS = 21  # that `insert_jobs` writes
BODY_COLUMNS = 4


def add_calls(tx: Tx, calls: Sequence[Sequence[Job]]) -> list[list[Added]]:
    """Runs the adds of one commit as one."""
    if len(calls) == 1:
        return [add_jobs(tx, calls[0])]
    replies = iter(add_jobs(tx, [job for jobs in calls for job in jobs]))
    return [[next(replies) for _ in jobs] for jobs in calls]


def add_jobs(tx: Tx, jobs: Sequence[Job]) -> list[Added]:
    """Adds jobs; parents before the children that came with them."""
    named = {job.id for job in jobs}
    if not any(job.parent_id in named for job in jobs if job.parent_id):
        return _add_wave(tx, jobs)
    replies: dict[int, Added] = {}
    left = list(enumerate(jobs))
    while left:
        waiting = {job.id for _, job in left}
        wave = [(place, job) for place, job in left if job.parent_id not in waiting] or left
        for (place, _), added in zip(wave, _add_wave(tx, [job for _, job in wave]), strict=True):
            replies[place] = added
        placed = {place for place, _ in wave}
        left = [item for item in left if item[0] not in placed]
    return [replies[place] for place in range(len(jobs))]


class _Entry:
    """One job on its way in: the state it enters with."""

    __slots__ = ("cost", "deadline", "due_at", "error", "job", "rank", "status", "urgency")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.status = Status.QUEUED
        self.error: JobError | None = None
        self.deadline = job.deadline
        self.due_at = job.due_at if job.not_before is None else max(job.due_at, job.not_before)
        self.rank: float | None = None
        self.urgency = urgency(job)
        self.cost = cost(job)

    @property
    def charge(self) -> tuple[str, str, float]:
        """What its place in ``ready`` costs whom."""
        return self.job.queue, self.job.tenant, self.cost

    def as_added(self) -> Job:
        """The job as its row has it."""
        if self.deadline == self.job.deadline and self.due_at == self.job.due_at:
            return self.job
        return replace(self.job, deadline=self.deadline, due_at=self.due_at)


def _add_wave(tx: Tx, jobs: Sequence[Job]) -> list[Added]:
    if not jobs:
        return []
    entries = [_Entry(job) for job in jobs]
    _heed_parents(tx, entries)
    due = [entry for entry in entries if entry.status is Status.QUEUED and entry.due_at <= tx.now]
    if due:
        ranks = assign_ranks(tx, [entry.charge for entry in due])
        for entry, rank in zip(due, ranks, strict=True):
            entry.rank = rank
    rows: list[Binding] = []
    for entry in entries:
        rows += _row(tx, entry)
    if tx.is_careful:
        new = {row[0] for row in tx.spread("add.insert_jobs_telling", JOB_COLUMNS, rows)}
    else:
        before = tx.connection.total_changes()
        tx.spread("add.insert_jobs", JOB_COLUMNS, rows)
        if tx.connection.total_changes() - before < len(entries):
            raise Redo
        new = set()
    if not tx.is_careful or len(new) == len(entries):
        _insert_parts(tx, entries)
        return [Added(id=e.job.id, is_new=True, status=e.status, fingerprint=e.job.fingerprint) for e in entries]
    return _add_the_new(tx, entries, new)


def _add_the_new(tx: Tx, entries: list[_Entry], new: set[str]) -> list[Added]:
    """The way for adds some of which existed already."""
    fresh: dict[int, _Entry] = {}
    for place, entry in enumerate(entries):
        if entry.job.id in new:
            new.discard(entry.job.id)
            fresh[place] = entry
    _insert_parts(tx, list(fresh.values()))
    old = [(place, entry.job) for place, entry in enumerate(entries) if place not in fresh]
    give_back(tx, [entries[place].charge for place, _ in old if entries[place].rank is not None])
    asked = [(job.id, job.tenant, job.parent_id, job.key) for _, job in old]
    found = {old[index][0]: (job_id, state, mark) for index, job_id, state, mark in tx.bulk("add.existing", asked)}
    replies: list[Added] = []
    for place, entry in enumerate(entries):
        if place in fresh:
            job = entry.job
            replies.append(Added(id=job.id, is_new=True, status=entry.status, fingerprint=job.fingerprint))
        else:
            job_id, state, mark = found[place]
            replies.append(Added(id=job_id, is_new=False, status=Status(state), fingerprint=mark))
    return replies


def _heed_parents(tx: Tx, entries: Iterable[_Entry]) -> None:
    """A child of an ended parent, or of one with an ending, enters as ended in that way; deadlines are inherited."""
    children = [entry for entry in entries if entry.job.parent_id]
    if not children:
        return
    parents = {row[0]: row[1:] for row in tx.bulk("add.parents", list({entry.job.parent_id for entry in children}))}
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


def _row(tx: Tx, entry: _Entry) -> tuple[Binding, ...]:
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
        entry.urgency,
        entry.cost,
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
    )


def _insert_parts(tx: Tx, entries: list[_Entry]) -> None:
    bodies: list[Binding] = []
    refs: list[tuple[str, str, str]] = []
    ready: list[tuple[str, int, float, str, float | None, float]] = []
    later: list[tuple[float, str, str, float]] = []
    for entry in entries:
        job, body = entry.job, entry.job.body
        if body is not None:
            bodies += (job.id, body.text, body.blob_id, body.bytes)
            if body.blob_id is not None:
                refs.append((job.id, "body", body.blob_id))
        if job.blobs:
            refs += [(job.id, "job", blob_id) for blob_id in job.blobs]
        if entry.rank is not None:
            if job.is_group:
                ready.append((job.queue, entry.urgency, entry.rank, job.id, None, job.created_at))
            else:
                ready.append((job.queue, entry.urgency, entry.rank, job.id, entry.deadline, job.created_at))
                tx.added.append(entry.as_added())
        elif entry.status is Status.QUEUED:
            later.append((entry.due_at, job.id, job.queue, job.created_at))
        else:
            tx.topics.add("job:" + job.id)
    tx.topics.update([topic for queue in {row[0] for row in ready} for topic in ready_topics(queue)])
    if bodies:
        tx.spread("add.insert_bodies", BODY_COLUMNS, bodies)
    if refs:
        tx.bulk("add.insert_refs", refs)
    if ready:
        tx.bulk("ready.insert_fresh", ready)
    if later:
        tx.bulk("ready.insert_later", later, tx.now)

"""The verb ``claim``."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from forebay.domain.change import Claimed, Want, Worker
from forebay.domain.job import Ending, Job, Status
from forebay.stores.ends import EXPIRED_ERROR, End
from forebay.stores.rows import content_of, decode_fresh, decode_job
from forebay.stores.sqlite.ending import ask_groups, end_leaves
from forebay.stores.sqlite.joins import settle
from forebay.stores.sqlite.placing import move_due
from forebay.stores.sqlite.transaction import Tx, as_json
from forebay.stores.sqlite.workers import register

DUE_AT_ONCE = 1000  # moved from `later` by one claim


class Asking(NamedTuple):
    """The arguments of one claim."""

    worker: Worker
    wants: Sequence[Want]
    is_alone: bool


def claim_calls(tx: Tx, calls: Sequence[Asking]) -> list[list[Claimed]]:
    """Runs the claims of one commit, one after the other: each counts the leases of those before it."""
    return [_claim(tx, asking) for asking in calls]


def _claim(tx: Tx, asking: Asking) -> list[Claimed]:
    worker, wants, is_alone = asking
    if not wants:
        return []
    looks = _look(tx, asking)
    if looks[0][5] and move_due(tx, DUE_AT_ONCE):
        looks = _look(tx, asking)
    epoch, has_suspect, is_buried = looks[0][3], looks[0][4], looks[0][6]
    if epoch is not None and epoch != worker.epoch:
        return []
    if is_buried:
        register(tx, worker)
    if has_suspect or (is_alone and tx.run("claim.holds", worker.id)[0][0]):
        return []
    return _lease(tx, asking, _take_wants(tx, asking, [(look[0], look[1], look[2]) for look in looks]))


def _look(tx: Tx, asking: Asking) -> list[tuple[int, bool, int, int | None, bool, bool, bool]]:
    wants = [(want.queue, None if want.cap is None else want.lane) for want in asking.wants]
    return tx.run("claim.look", as_json(wants), int(asking.is_alone), asking.worker.id, tx.now)


class _Taken(NamedTuple):
    """A job that was taken out of ``ready``, and whether it stood there as it was added."""

    job_id: str
    lane: str
    is_fresh: bool


def _take_wants(tx: Tx, asking: Asking, looks: list[tuple[int, bool, int]]) -> list[_Taken]:
    """Takes jobs out of ``ready``, in the order of claims."""
    used: dict[str, int] = {}
    taken: list[_Taken] = []
    for place, has_ready, leases in looks:
        want = asking.wants[place]
        slots = want.slots
        if want.cap is not None:
            slots = min(slots, want.cap - leases - used.get(want.lane, 0))
        if asking.is_alone:
            slots = min(slots, 1 - len(taken))
        if has_ready and slots > 0:
            found = _take(tx, want, asking.is_alone, slots)
            used[want.lane] = used.get(want.lane, 0) + len(found)
            taken += found
    return taken


def _take(tx: Tx, want: Want, is_suspect: bool, slots: int) -> list[_Taken]:
    """The next jobs of one queue; those past their deadline are ended on the way."""
    queue, lane = want.queue, want.lane
    taken: list[_Taken] = []
    clock: float | None = None
    while len(taken) < slots:
        asked = slots - len(taken)
        rows = tx.packed("claim.next", queue, int(is_suspect), asked)
        if not rows:
            break
        tx.run("claim.take", queue, int(is_suspect), asked)
        highest: float = max(row[0] for row in rows)
        clock = highest if clock is None else max(clock, highest)
        late = [row[1] for row in rows if row[2] is not None and row[2] <= tx.now]
        taken += [_Taken(row[1], lane, bool(row[3])) for row in rows if row[2] is None or row[2] > tx.now]
        settle(tx, end_leaves(tx, [End(job_id, Status.FAILED, EXPIRED_ERROR) for job_id in late]))
        if len(rows) < asked:
            break
    if clock is not None:
        tx.bulk("ready.advance_clock", {queue: clock})
    return taken


def _lease(tx: Tx, asking: Asking, taken: list[_Taken]) -> list[Claimed]:
    if not taken:
        return []
    worker = asking.worker
    rows = [(one.job_id, one.lane) for one in taken]
    tx.bulk("claim.lease", rows, worker.id, worker.epoch, int(asking.is_alone), tx.now)
    first_fence = tx.connection.last_insert_rowid() - len(taken) + 1
    jobs = _jobs(tx, taken)
    return [
        Claimed(job=jobs[one.job_id], fence=first_fence + place, lane=one.lane, is_alone=asking.is_alone)
        for place, one in enumerate(taken)
    ]


def _jobs(tx: Tx, taken: list[_Taken]) -> dict[str, Job]:
    """The leased jobs: what is still in hand is not read, and of what stands as it was added there is less to read."""
    jobs: dict[str, Job] = {}
    fresh: list[str] = []
    for one in taken:
        if one.is_fresh and (job := tx.recent.take(one.job_id)):
            jobs[one.job_id] = replace(job, status=Status.RUNNING, started_at=tx.now)
        elif one.is_fresh:
            fresh.append(one.job_id)
    if fresh:
        rows = tx.packed("claim.read_fresh", as_json(fresh))
        jobs.update((job.id, job) for job in [decode_fresh(row, tx.now) for row in rows])
    if others := [one.job_id for one in taken if not one.is_fresh]:
        rows = tx.packed("claim.read", as_json(others))
        jobs.update((job.id, job) for job in [decode_job(row, body=content_of(*row[-3:])) for row in rows])
    _expire_groups(tx, jobs)
    return jobs


def _expire_groups(tx: Tx, jobs: dict[str, Job]) -> None:
    """A group past its deadline is claimed with its ending, and what lives below it is asked to end."""
    late = [job.id for job in jobs.values() if job.is_group and job.deadline <= tx.now and job.ending is None]
    if late:
        settle(tx, ask_groups(tx, late, Ending.EXPIRE))
        jobs.update({job_id: replace(jobs[job_id], ending=Ending.EXPIRE) for job_id in late})

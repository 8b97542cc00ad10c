"""How jobs end otherwise than by their own answer, and what every end brings with it: notices, and children cancelled.

Every function here runs inside the transaction of the verb that ends the jobs.
"""

from collections.abc import Iterable

import msgspec

from forebay.domain.job import Ending, Job, Notice, Spec, Status
from forebay.stores.ends import End, end_of
from forebay.stores.rows import decode_fixed
from forebay.stores.sqlite.adding import add_jobs
from forebay.stores.sqlite.placing import dequeue, enqueue
from forebay.stores.sqlite.transaction import Tx, as_json


def end_leaves(tx: Tx, ends: Iterable[End]) -> set[str]:
    """Ends live leaves, wherever they stand; returns the parents to be settled."""
    rows = [(end.job_id, end.status, end.error.code, end.error.message) for end in ends]
    if not rows:
        return set()
    named = [row[0] for row in rows]
    dequeue(tx, named)
    tx.bulk("end.free", named)
    ended = tx.bulk("end.end_leaves", rows, tx.now)
    tx.topics.update("job:" + row[0] for row in ended)
    add_notices(tx, [row[0] for row in ended if row[2]])
    return {row[1] for row in ended if row[1]}


def ask_groups(tx: Tx, job_ids: Iterable[str], ending: Ending) -> set[str]:
    """Asks live groups to end, and with them all that is live below; returns the jobs to be settled.

    None is ended: each is claimed once more when nothing is live below it, and ends by its own answer.
    """
    unsettled: set[str] = set()
    groups = list(job_ids)
    while groups:
        tx.bulk("end.ask_groups", groups, ending)
        unsettled.update(groups)
        groups, parents = _ask_children(tx, groups, ending)
        unsettled |= parents
    return unsettled


def cancel_children(tx: Tx, parent_ids: Iterable[str], ending: Ending = Ending.CANCEL) -> set[str]:
    """Asks what is live below jobs that have ended; returns the jobs to be settled."""
    groups, unsettled = _ask_children(tx, list(parent_ids), ending)
    return unsettled | ask_groups(tx, groups, ending)


def hasten(tx: Tx, job_ids: Iterable[str]) -> None:
    """Makes queued jobs that no worker holds due now."""
    named = list(job_ids)
    if named:
        dequeue(tx, named)
        tx.bulk("end.make_due", named, tx.now)
        enqueue(tx, named)


def add_notices(tx: Tx, job_ids: list[str]) -> None:
    """Adds the ``on_end`` jobs of ended roots: the outbox of the transaction that ends them."""
    if not job_ids:
        return
    jobs: list[Job] = []
    for job_id, status, fixed in tx.bulk("end.owners", job_ids):
        owner = decode_fixed(fixed)
        for place, notice in enumerate(owner.on_end):
            if notice.statuses and status not in notice.statuses:
                continue
            args = msgspec.json.decode(notice.args) | {"job_id": job_id, "status": status}
            job = Job(
                id=tx.ids.new("job"),
                kind=notice.kind,
                queue=notice.queue,
                tenant=owner.tenant,
                key=f"end:{job_id}:{place}",
                created_at=tx.now,
                deadline=tx.now + notice.lifespan_seconds,
                spec=Spec(args=as_json(args), metadata=_labels(notice, job_id)),
            )
            jobs.append(job)
    add_jobs(tx, jobs)


def _labels(notice: Notice, owner_id: str) -> dict[str, str]:
    return {**notice.metadata, "job_id": owner_id} if notice.metadata else {}


def _ask_children(tx: Tx, parent_ids: list[str], ending: Ending) -> tuple[list[str], set[str]]:
    """One level: ends queued leaves, asks running ones; returns the groups among them and the parents to settle."""
    groups: list[str] = []
    idle_groups: list[str] = []
    leaves: list[str] = []
    running: list[str] = []
    for job_id, is_group, status, is_running in tx.bulk("end.live_children", parent_ids):
        if is_group or status == Status.WAITING:
            groups.append(job_id)
            if status == Status.QUEUED and not is_running:
                idle_groups.append(job_id)
        elif is_running:
            running.append(job_id)
        else:
            leaves.append(job_id)
    status_after, error = end_of(ending)
    unsettled = end_leaves(tx, [End(job_id, status_after, error) for job_id in leaves])
    if running:
        tx.bulk("end.ask", running, ending)
    hasten(tx, idle_groups)
    return groups, unsettled

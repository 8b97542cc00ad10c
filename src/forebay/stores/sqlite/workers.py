"""Workers and their leases: the verbs ``renew`` and ``retire``, and the freeing of leases for ``recover``."""

import msgspec

from forebay.domain.change import Renewal, Worker
from forebay.domain.job import POISON_DEATHS, POISON_DEATHS_OF_A_GROUP, Ending, OnUnknown, Status
from forebay.stores.ends import POISON_ERROR, UNKNOWN_ERROR, End, end_of
from forebay.stores.sqlite.ending import cancel_children, end_leaves
from forebay.stores.sqlite.joins import settle
from forebay.stores.sqlite.placing import enqueue
from forebay.stores.sqlite.transaction import Row, Tx, as_json

SUSPECT_RESCUES = 2  # the schema's statements say the same: `rescues >= 2`


def register(tx: Tx, worker: Worker) -> None:
    """Writes the heartbeat row."""
    tx.run(
        "workers.register",
        worker.id,
        worker.epoch,
        worker.host,
        worker.pid,
        worker.pid_started,
        as_json(worker.queues),
        worker.lease_seconds,
        tx.now,
    )


def renew(tx: Tx, worker: Worker) -> Renewal:
    """A heartbeat; of an ended epoch it changes nothing and names the current one."""
    known = tx.run("workers.find", worker.id)
    if known and known[0][0] != worker.epoch:
        return Renewal(is_alive=False, epoch=known[0][0])
    register(tx, worker)
    stopping = tuple(row[0] for row in tx.run("workers.stopping", worker.id))
    return Renewal(is_alive=True, epoch=worker.epoch, stopping=stopping)


def retire(tx: Tx, worker: Worker) -> int:
    """Hands back every lease, and forgets the worker; of an ended epoch it does nothing."""
    known = tx.run("workers.find", worker.id)
    if known and known[0][0] != worker.epoch:
        return 0
    fences = [row[0] for row in tx.run("workers.held", worker.id)]
    free_leases(tx, fences, is_counted=False)
    tx.run("workers.forget", worker.id)
    return len(fences)


def read_worker(row: Row) -> Worker:
    return Worker(
        id=row[0],
        epoch=row[1],
        host=row[2],
        pid=row[3],
        pid_started=row[4],
        queues=msgspec.json.decode(row[5], type=tuple[str, ...]),
        lease_seconds=row[6],
        heartbeat_at=row[7],
    )


def free_leases(tx: Tx, fences: list[int], *, is_counted: bool) -> None:
    """Takes leases away: their running attempts become ``unknown``, their jobs are queued again or end."""
    if not fences:
        return
    rows = tx.bulk("rescue.look", fences)
    tx.bulk("rescue.doubt", [(row[1], row[0]) for row in rows if row[10]])
    tx.bulk("end.free", [row[1] for row in rows])
    counts: list[tuple[str, float, int, int]] = []
    ends: list[End] = []
    again: list[str] = []
    for row in rows:
        _, job_id, is_alone, claimed_at, _, _, rescues, lone = row[:8]
        rescue = int(is_counted and (row[9] or row[5]))  # a group's run makes no call: its lease is its begin
        lone += rescue * is_alone
        counts.append((job_id, claimed_at, rescues + rescue, lone))
        end = _end_of_freed(row, lone if rescue else 0)
        if end is None:
            again.append(job_id)
        else:
            ends.append(end)
    tx.bulk("rescue.count", counts, tx.now)
    enqueue(tx, again)
    unsettled = end_leaves(tx, ends)
    settle(tx, unsettled | cancel_children(tx, [end.job_id for end in ends]))


def _end_of_freed(row: Row, lone_rescues: int) -> End | None:
    """How a freed job ends, if it does: as it was asked to, as poison, or held with an unknown outcome."""
    job_id, ending, is_group = row[1], row[4], row[5]
    if ending is not None and not is_group:
        return End(job_id, *end_of(Ending(ending)))
    if lone_rescues >= (POISON_DEATHS_OF_A_GROUP if is_group else POISON_DEATHS):
        return End(job_id, Status.FAILED, POISON_ERROR)
    if row[10] and row[8] == OnUnknown.HOLD and not is_group:
        return End(job_id, Status.FAILED, UNKNOWN_ERROR)
    return None

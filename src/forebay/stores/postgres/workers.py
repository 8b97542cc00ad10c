"""Workers and their leases: the verbs ``renew`` and ``retire``, and the freeing of leases for ``recover``."""

import msgspec

from forebay.domain.change import Renewal, Worker
from forebay.domain.job import POISON_DEATHS, POISON_DEATHS_OF_A_GROUP, Ending, OnUnknown, Status
from forebay.stores.ends import POISON_ERROR, UNKNOWN_ERROR, End, end_of
from forebay.stores.postgres.ending import cancel_children, end_freed
from forebay.stores.postgres.joins import settle
from forebay.stores.postgres.placing import enqueue
from forebay.stores.postgres.transaction import Lease, Row, Tx, as_json
from forebay.stores.rows import decode_fixed

SUSPECT_RESCUES = 2  # the schema's statements say the same: `rescues >= 2`


async def register(tx: Tx, worker: Worker) -> bool:
    """Writes the heartbeat row; False if the epoch has ended."""
    written = await tx.run(
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
    return bool(written)


async def renew(tx: Tx, worker: Worker) -> Renewal:
    """A heartbeat; of an ended epoch it changes nothing and names the current one."""
    if not await register(tx, worker):
        [[epoch]] = await tx.run("workers.find", worker.id)
        return Renewal(is_alive=False, epoch=epoch)
    stopping = tuple(row[0] for row in await tx.run("workers.stopping", worker.id))
    return Renewal(is_alive=True, epoch=worker.epoch, stopping=stopping)


async def retire(tx: Tx, worker: Worker) -> int:
    """Hands back every lease, and forgets the worker; of an ended epoch it does nothing."""
    known = await tx.run("workers.find", worker.id)
    if known and known[0][0] != worker.epoch:
        return 0
    held = [row[0] for row in await tx.run("workers.held", worker.id)]
    fences = [row[0] for row in await tx.bulk("rescue.hold", held)]
    await free_leases(tx, fences, is_counted=False)
    await tx.run("workers.forget", worker.id)
    return len(fences)


async def hand_back(tx: Tx, leases: list[Lease]) -> None:
    """Hands back those of the leases that exist: their claim was committed, and its reply lost."""
    rows = await tx.bulk("rescue.hold_claimed", [tuple(lease) for lease in leases])
    await free_leases(tx, [row[0] for row in rows], is_counted=False)


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


async def free_leases(tx: Tx, fences: list[int], *, is_counted: bool) -> None:
    """Takes leases away, held with their jobs: running attempts become ``unknown``, jobs are queued again or end."""
    if not fences:
        return
    rows = await tx.bulk("rescue.look", fences)
    await tx.bulk("rescue.doubt", [(row[1], row[0]) for row in rows if row[10]])
    await tx.bulk("end.free", [row[1] for row in rows])
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
    await tx.bulk("rescue.count", counts, tx.now)
    await enqueue(tx, again)
    unsettled = await end_freed(tx, ends)
    await settle(tx, unsettled | await cancel_children(tx, [end.job_id for end in ends]))


def _end_of_freed(row: Row, lone_rescues: int) -> End | None:
    """How a freed job ends, if it does: as it was asked to, as poison, or held with an unknown outcome."""
    job_id, ending, is_group = row[1], row[4], row[5]
    if ending is not None and not is_group:
        return End(job_id, *end_of(Ending(ending)))
    if lone_rescues >= (POISON_DEATHS_OF_A_GROUP if is_group else POISON_DEATHS):
        return End(job_id, Status.FAILED, POISON_ERROR)
    if row[10] and decode_fixed(row[8]).spec.on_unknown is OnUnknown.HOLD and not is_group:
        return End(job_id, Status.FAILED, UNKNOWN_ERROR)
    return None

"""Places in ``ready`` and ``later``, and the fair rank that a row is given when it enters ``ready``.

Start-time fair queuing, per queue: rank = max(the queue's clock, the tenant's last rank) + tokens / weight, where the
clock is the highest rank claimed so far. A tenant that was idle starts at the clock; a busy one queues behind itself.
Ranks are charged aside, in transactions that wait for no disk: each process adds to the same few rows. A charge whose
job was rolled back costs its tenant a little of its turn, no more.
"""

from collections.abc import Iterable, Sequence

from forebay.domain.lane import ready_topics
from forebay.stores.postgres.transaction import Row, Tx
from forebay.stores.rows import charged

Charge = tuple[str, str, float]  # queue, tenant, cost


async def assign_ranks(tx: Tx, charges: Sequence[Charge]) -> list[float]:
    """Charges the tenants and returns one rank for each, in order. ``ready.charge`` holds the formula."""
    sums = _sums(charges)
    ends = await tx.aside("ready.charge", [(queue, tenant, cost) for (queue, tenant), cost in sums.items()])
    position = {(queue, tenant): last - sums[queue, tenant] for queue, tenant, last in ends}
    ranks: list[float] = []
    for queue, tenant, cost in charges:
        position[queue, tenant] += cost
        ranks.append(position[queue, tenant])
    return ranks


async def give_back(tx: Tx, charges: Iterable[Charge]) -> None:
    """Takes charges back that were made for nothing (a job that existed already)."""
    sums = _sums(charges)
    await tx.aside("ready.give_back", [(queue, tenant, cost) for (queue, tenant), cost in sorted(sums.items())])


async def enqueue(tx: Tx, job_ids: Iterable[str]) -> None:
    """Gives queued jobs, whose rows are written and held, their place: ``ready`` if they are due, else ``later``."""
    rows = await tx.bulk("ready.places", list(job_ids))
    due = [row for row in rows if row[6] <= tx.now]
    ahead = [row for row in rows if row[6] > tx.now]
    if due:
        ranks = await assign_ranks(tx, [(row[1], row[2], charged(row[3], row[4])) for row in due])
        await tx.bulk("ready.set_ranks", [(row[0], rank, row[3]) for row, rank in zip(due, ranks, strict=True)])
        await tx.bulk("ready.insert_ready", [_entry(row, rank) for row, rank in zip(due, ranks, strict=True)])
        tx.topics.update(topic for queue in {row[1] for row in due} for topic in ready_topics(queue))
    await tx.bulk("ready.insert_later", [(row[6], row[0], row[1], row[7]) for row in ahead])


async def dequeue(tx: Tx, job_ids: Iterable[str]) -> set[str]:
    """Takes jobs, whose rows are held, out of ``ready`` and ``later``; returns which: a claimer may have been faster.

    Call it before ``due_at``, ``rank`` or ``rescues`` change.
    """
    named = list(job_ids)
    rows = await tx.bulk("ready.leave_ready", named) + await tx.bulk("ready.leave_later", named)
    return {row[0] for row in rows}


async def move_due(tx: Tx, limit: int) -> int:
    """Moves at most so many jobs that have fallen due from ``later`` to ``ready``."""
    moved = [row[1] for row in sorted(tuple(row) for row in await tx.run("ready.take_due", tx.now, limit))]
    if moved:
        await enqueue(tx, moved)
    return len(moved)


def _sums(charges: Iterable[Charge]) -> dict[tuple[str, str], float]:
    sums: dict[tuple[str, str], float] = {}
    for queue, tenant, cost in charges:
        sums[queue, tenant] = sums.get((queue, tenant), 0.0) + cost
    return sums


def _entry(row: Row, rank: float) -> tuple[object, ...]:
    job_id, queue, _, urgency, _, is_suspect, _, created_at, deadline = row
    return queue, is_suspect, urgency, rank, job_id, deadline, created_at

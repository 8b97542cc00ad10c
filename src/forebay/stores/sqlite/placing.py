"""Places in ``ready`` and ``later``, and the fair rank that a row is given when it enters ``ready``.

Start-time fair queuing, per queue: rank = max(the queue's clock, the tenant's last rank) + tokens / weight, where the
clock is the highest rank claimed so far. A tenant that was idle starts at the clock; a busy one queues behind itself.
"""

from collections.abc import Iterable, Sequence

from forebay.domain.lane import ready_topics
from forebay.stores.rows import charged
from forebay.stores.sqlite.transaction import Tx

Charge = tuple[str, str, float]  # queue, tenant, cost


def assign_ranks(tx: Tx, charges: Sequence[Charge]) -> list[float]:
    """Charges the tenants and returns one rank for each, in order. ``ready.charge`` holds the formula."""
    sums: dict[tuple[str, str], float] = {}
    for queue, tenant, cost in charges:
        sums[queue, tenant] = sums.get((queue, tenant), 0.0) + cost
    ends = tx.bulk("ready.charge", [(queue, tenant, cost) for (queue, tenant), cost in sums.items()])
    position = {(queue, tenant): last - sums[queue, tenant] for queue, tenant, last in ends}
    ranks: list[float] = []
    for queue, tenant, cost in charges:
        position[queue, tenant] += cost
        ranks.append(position[queue, tenant])
    return ranks


def give_back(tx: Tx, charges: Iterable[Charge]) -> None:
    """Takes charges back that were made for nothing (a job that existed already)."""
    sums: dict[tuple[str, str], float] = {}
    for queue, tenant, cost in charges:
        sums[queue, tenant] = sums.get((queue, tenant), 0.0) + cost
    if sums:
        tx.bulk("ready.give_back", [(queue, tenant, cost) for (queue, tenant), cost in sums.items()])


def enqueue(tx: Tx, job_ids: Iterable[str]) -> None:
    """Gives queued jobs, whose rows are written, their place: ``ready`` if they are due, else ``later``."""
    rows = tx.bulk("ready.places", list(job_ids))
    due = [row for row in rows if row[6] <= tx.now]
    ahead = [row for row in rows if row[6] > tx.now]
    if due:
        ranks = assign_ranks(tx, [(row[1], row[2], charged(row[3], row[4])) for row in due])
        tx.bulk("ready.set_ranks", [(row[0], rank, row[3]) for row, rank in zip(due, ranks, strict=True)])
        entries = [
            (queue, is_suspect, urgency, rank, job_id, deadline, created_at)
            for (job_id, queue, _, urgency, _, is_suspect, _, created_at, deadline), rank in zip(
                due, ranks, strict=True
            )
        ]
        tx.bulk("ready.insert_ready", entries)
        tx.topics.update(topic for queue in {row[1] for row in due} for topic in ready_topics(queue))
    if ahead:
        tx.bulk("ready.insert_later", [(row[6], row[0], row[1], row[7]) for row in ahead], tx.now)


def dequeue(tx: Tx, job_ids: Iterable[str]) -> None:
    """Takes jobs out of ``ready`` and ``later``; call it before ``due_at``, ``rank`` or ``rescues`` change."""
    named = list(job_ids)
    tx.bulk("ready.leave_ready", named)
    tx.bulk("ready.leave_later", named)


def move_due(tx: Tx, limit: int) -> int:
    """Moves at most so many jobs that have fallen due from ``later`` to ``ready``."""
    moved = [row[0] for row in tx.run("ready.take_due", tx.now, limit)]
    if moved:
        enqueue(tx, moved)
    return len(moved)

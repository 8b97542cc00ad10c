"""The verb ``settle``: wakes waiting jobs whose join is met, at a cost that follows the join."""

from collections.abc import Collection, Iterable, Sequence

from forebay.stores.sqlite.placing import enqueue
from forebay.stores.sqlite.transaction import Row, Tx


def settle_calls(tx: Tx, calls: Sequence[Collection[str]]) -> list[list[str]]:
    """Runs the settles of one commit as one; each woken job is told to the first who named it."""
    woken = set(settle(tx, {job_id for ids in calls for job_id in ids}))
    replies: list[list[str]] = []
    for ids in calls:
        replies.append([job_id for job_id in dict.fromkeys(ids) if job_id in woken])
        woken.difference_update(ids)
    return replies


def settle(tx: Tx, job_ids: Iterable[str]) -> list[str]:
    """Wakes those of the named jobs that wait and whose join is met; returns them."""
    named = [job_id for job_id in job_ids if job_id]
    if not named:
        return []
    met = [row[0] for row in tx.bulk("settle.joins", named) if _is_met(tx, row)]
    if not met:
        return []
    woken = [row[0] for row in tx.bulk("settle.wake", met, tx.now)]
    enqueue(tx, woken)
    return woken


def _is_met(tx: Tx, row: Row) -> bool:
    job_id, successes, live, until, taken, has_live = row
    if not has_live or (until is not None and until <= tx.now):
        return True
    if live and tx.run("settle.count_live", job_id, live + 1)[0][0] <= live:
        return True
    if successes is None:
        return False
    missing = successes - taken
    return bool(missing <= 0 or tx.run("settle.count_succeeded", job_id, missing)[0][0] >= missing)

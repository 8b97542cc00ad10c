"""The verb ``settle``: wakes waiting jobs whose join is met, at a cost that follows the join."""

from collections.abc import Collection, Iterable, Sequence

from forebay.stores.postgres.placing import enqueue
from forebay.stores.postgres.transaction import Row, Tx


async def settle_calls(tx: Tx, calls: Sequence[Collection[str]]) -> list[list[str]]:
    """Runs the settles of one commit as one; each woken job is told to the first who named it."""
    woken = set(await settle(tx, {job_id for ids in calls for job_id in ids}, is_waiting=True))
    replies: list[list[str]] = []
    for ids in calls:
        replies.append([job_id for job_id in dict.fromkeys(ids) if job_id in woken])
        woken.difference_update(ids)
    return replies


async def settle(tx: Tx, job_ids: Iterable[str], *, is_waiting: bool = False) -> list[str]:
    """Wakes those of the named jobs that wait and whose join is met; returns them.

    ``is_waiting`` False, within a verb that holds other rows: a row that someone else holds is passed over, and all
    are settled once more after the commit, when nothing is held and others' ends of children can be seen.
    """
    named = [job_id for job_id in job_ids if job_id]
    if not named:
        return []
    if not is_waiting:
        tx.unsettled.update(named)
    met = [(row[0], row[6]) for row in await tx.bulk("settle.joins", named) if await _is_met(tx, row)]
    woken = [row[0] for row in await tx.bulk("settle.wake" if is_waiting else "settle.wake_idle", met, tx.now)]
    if woken:
        await enqueue(tx, woken)
    return woken


async def settle_again(tx: Tx, job_ids: Iterable[str]) -> None:
    """What follows a commit that may have met joins."""
    await settle(tx, job_ids, is_waiting=True)


async def _is_met(tx: Tx, row: Row) -> bool:
    job_id, successes, live, until, taken, has_live, _ = row
    if not has_live or (until is not None and until <= tx.now):
        return True
    if live and await _count(tx, "settle.count_live", job_id, live + 1) <= live:
        return True
    if successes is None:
        return False
    missing = successes - taken
    return bool(missing <= 0 or await _count(tx, "settle.count_succeeded", job_id, missing) >= missing)


async def _count(tx: Tx, name: str, parent_id: str, limit: int) -> int:
    [[count]] = await tx.run(name, parent_id, limit)
    return int(count)

"""The verb ``claim``."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from forebay.domain.change import Claimed, Want, Worker
from forebay.domain.job import Ending, Job, Status
from forebay.stores.postgres.adding import EXPIRED_ERROR
from forebay.stores.postgres.ending import End, ask_groups, end_leaves
from forebay.stores.postgres.joins import settle
from forebay.stores.postgres.placing import move_due
from forebay.stores.postgres.rows import content_of, decode_job
from forebay.stores.postgres.transaction import Tx
from forebay.stores.postgres.workers import register

DUE_AT_ONCE = 1000  # moved from `later` by one claim
LANE_LOCKS = 0x466F  # the first of the two numbers of our advisory locks; the second is the lane's hash


class Asking(NamedTuple):
    """The arguments of one claim."""

    worker: Worker
    wants: Sequence[Want]
    is_alone: bool


class _Look(NamedTuple):
    """A row of ``claim.look``: of one want, and of the worker."""

    place: int
    has_ready: bool
    leases: int
    epoch: int | None
    has_suspect: bool
    has_due: bool
    is_buried: bool
    has_late: bool


async def claim_calls(tx: Tx, calls: Sequence[Asking]) -> list[list[Claimed]]:
    """Runs the claims of one commit, one after the other: each counts the leases of those before it."""
    lanes = {want.lane for asking in calls for want in asking.wants if want.cap is not None}
    if lanes:  # all at once, in one order: two claimers wait for each other and never deadlock
        await tx.run("claim.lock_lanes", LANE_LOCKS, list(lanes))
    return [await _claim(tx, asking) for asking in calls]


async def _claim(tx: Tx, asking: Asking) -> list[Claimed]:
    worker, wants, is_alone = asking
    if not wants:
        return []
    looks = await _look(tx, asking)
    if looks[0].has_due and await move_due(tx, DUE_AT_ONCE):
        looks = await _look(tx, asking)
    epoch, has_suspect, is_buried = looks[0].epoch, looks[0].has_suspect, looks[0].is_buried
    if epoch is not None and epoch != worker.epoch:
        return []
    if is_buried and not await register(tx, worker):
        return []
    if has_suspect or (is_alone and (await tx.run("claim.holds", worker.id))[0][0]):
        return []
    return await _lease(tx, asking, await _take_wants(tx, asking, looks))


async def _look(tx: Tx, asking: Asking) -> list[_Look]:
    wants = [(want.queue, None if want.cap is None else want.lane, max(want.slots, 0)) for want in asking.wants]
    rows = await tx.bulk("claim.look", wants, asking.is_alone, asking.worker.id, tx.now)
    return [_Look(*row) for row in rows]


async def _take_wants(tx: Tx, asking: Asking, looks: list[_Look]) -> list[tuple[str, str]]:
    """Takes jobs out of ``ready``: (job, lane) in the order of claims."""
    used: dict[str, int] = {}
    taken: list[tuple[str, str]] = []
    clocks: dict[str, float] = {}
    for look in looks:
        want = asking.wants[look.place]
        slots = want.slots
        if want.cap is not None:
            slots = min(slots, want.cap - look.leases - used.get(want.lane, 0))
        if asking.is_alone:
            slots = min(slots, 1 - len(taken))
        if look.has_ready and slots > 0:
            if look.has_late:
                await _end_late(tx, want.queue, asking.is_alone, want.slots)
            rows = await tx.run("claim.take", want.queue, asking.is_alone, slots, tx.now)
            ids = [row[2] for row in sorted(tuple(row) for row in rows)]
            used[want.lane] = used.get(want.lane, 0) + len(ids)
            taken += [(job_id, want.lane) for job_id in ids]
            if rows:
                clocks[want.queue] = max([row[1] for row in rows] + [clocks.get(want.queue, 0.0)])
    await tx.aside("ready.advance_clock", list(clocks.items()))
    return taken


async def _end_late(tx: Tx, queue: str, is_suspect: bool, slots: int) -> None:
    """Ends what stands at the head of a queue past its deadline; what someone else holds is left to them."""
    while True:
        rows = await tx.run("claim.late", queue, is_suspect, slots, tx.now)
        held = [row[0] for row in await tx.bulk("change.lock_idle", [row[1] for row in rows])]
        unsettled, missed = await end_leaves(tx, [End(job_id, Status.FAILED, EXPIRED_ERROR) for job_id in held])
        await settle(tx, unsettled)
        if rows:
            await tx.aside("ready.advance_clock", [(queue, max(row[0] for row in rows))])
        if len(rows) < slots or len(missed) + len(rows) - len(held) > 0:
            return


async def _lease(tx: Tx, asking: Asking, taken: list[tuple[str, str]]) -> list[Claimed]:
    if not taken:
        return []
    worker = asking.worker
    fences: dict[str, int] = dict(await tx.bulk("claim.lease", taken, worker.id, worker.epoch, asking.is_alone, tx.now))
    tx.fences += fences.values()
    rows = await tx.run("claim.read", [job_id for job_id, _ in taken])
    decoded = [decode_job(row, body=content_of(*row[-3:])) for row in rows]
    jobs = {job.id: job for job in decoded}
    await _expire_groups(tx, jobs)
    return [
        Claimed(job=jobs[job_id], fence=fences[job_id], lane=lane, is_alone=asking.is_alone) for job_id, lane in taken
    ]


async def _expire_groups(tx: Tx, jobs: dict[str, Job]) -> None:
    """A group past its deadline is claimed with its ending, and what lives below it is asked to end."""
    late = [job.id for job in jobs.values() if job.is_group and job.deadline <= tx.now and job.ending is None]
    if late:
        held = [row[0] for row in await tx.bulk("change.lock_idle", late)]  # else the sweep asks it
        await settle(tx, await ask_groups(tx, held, Ending.EXPIRE))
        jobs.update({job_id: replace(jobs[job_id], ending=Ending.EXPIRE) for job_id in held})

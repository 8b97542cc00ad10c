"""The verb ``claim``."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from forebay.domain.change import Claimed, Want, Worker
from forebay.domain.job import Ending, Job, Status
from forebay.stores.ends import EXPIRED_ERROR, End
from forebay.stores.postgres.ending import ask_groups, end_leaves
from forebay.stores.postgres.heads import WHOLE, Heads, Position, Span, Take
from forebay.stores.postgres.joins import settle
from forebay.stores.postgres.placing import move_due
from forebay.stores.postgres.transaction import Lease, Tx
from forebay.stores.postgres.workers import register
from forebay.stores.rows import content_of, decode_job

DUE_AT_ONCE = 1000  # moved from `later` by one claim
LANE_LOCKS = 0x466F  # the first of the two numbers of our advisory locks; the second is the lane's hash


class Asking(NamedTuple):
    """The arguments of one claim."""

    worker: Worker
    wants: Sequence[Want]
    is_alone: bool
    heads: Heads

    def spans(self) -> dict[str, Sequence[Span]]:
        """Where to look in each queue."""
        return {want.queue: WHOLE if self.is_alone else self.heads.spans(want.queue) for want in self.wants}


class Reply(NamedTuple):
    """``takes``: for ``Heads.learn``, once it is committed."""

    claimed: list[Claimed]
    takes: list[Take]
    oldest: dict[str, int]  # the oldest lease of each lane that was counted


_NOTHING = Reply([], [], {})


class _Look(NamedTuple):
    """A row of ``claim.look``: of one want, and of the worker."""

    place: int
    has_ready: bool
    leases: int
    oldest: int | None
    epoch: int | None
    has_suspect: bool
    has_due: bool
    is_buried: bool
    has_late: bool


class _Taken(NamedTuple):
    """What one want was given; ``is_full``: all it asked for."""

    queue: str
    lane: str
    found: list[Position]
    is_full: bool


async def claim_calls(tx: Tx, calls: Sequence[Asking]) -> list[Reply]:
    """Runs the claims of one commit, one after the other: each counts the leases of those before it."""
    lanes = {want.lane for asking in calls for want in asking.wants if want.cap is not None}
    if lanes:  # all at once, in one order: two claimers wait for each other and never deadlock
        await tx.run("claim.lock_lanes", LANE_LOCKS, list(lanes))
    return [await _claim(tx, asking) for asking in calls]


async def _claim(tx: Tx, asking: Asking) -> Reply:
    if not asking.wants:
        return _NOTHING
    began = asking.heads.now()
    spans = asking.spans()
    looks = await _look(tx, asking, spans)
    if looks[0].has_due and await move_due(tx, DUE_AT_ONCE):
        looks = await _look(tx, asking, spans)
    if not await _may_claim(tx, asking, looks[0]):
        return _NOTHING
    taken: list[_Taken] = []
    for look in looks:
        slots = _slots(asking, look, taken)
        if slots > 0:
            want = asking.wants[look.place]
            found = await _take(tx, asking, look, slots, spans[want.queue]) if look.has_ready else []
            taken.append(_Taken(want.queue, want.lane, found, len(found) == slots))
    await _advance_clocks(tx, taken)
    seconds = asking.heads.now() - began
    takes = [Take(one.queue, one.found, spans[one.queue] is WHOLE, one.is_full, seconds) for one in taken]
    claimed = await _lease(tx, asking, [(job_id, one.lane) for one in taken for _, _, job_id in one.found])
    return Reply(claimed, [] if asking.is_alone else takes, _oldest(asking, looks, claimed))


async def _may_claim(tx: Tx, asking: Asking, look: _Look) -> bool:
    worker = asking.worker
    if look.epoch is not None and look.epoch != worker.epoch:
        return False
    if look.is_buried and not await register(tx, worker):
        return False
    return not (look.has_suspect or (asking.is_alone and (await tx.run("claim.holds", worker.id))[0][0]))


async def _look(tx: Tx, asking: Asking, spans: Mapping[str, Sequence[Span]]) -> list[_Look]:
    wants = [(want.queue, None if want.cap is None else want.lane, max(want.slots, 0)) for want in asking.wants]
    is_whole = any(each is WHOLE for each in spans.values())
    fences = [0 if is_whole else asking.heads.oldest(want.lane) for want in asking.wants]
    parts = zip(*[(queue, *span) for queue, each in spans.items() for span in each], strict=True)
    rows = await tx.bulk("claim.look", wants, asking.is_alone, asking.worker.id, tx.now, *map(list, parts), fences)
    return [_Look(*row) for row in rows]


def _oldest(asking: Asking, looks: Sequence[_Look], claimed: Sequence[Claimed]) -> dict[str, int]:
    """Of each lane with a cap: it is locked, so that whoever claims in it later has a higher fence."""
    found: dict[str, int] = {}
    for look in looks:
        want = asking.wants[look.place]
        fences = [one.fence for one in claimed if one.lane == want.lane] if look.oldest is None else [look.oldest]
        if want.cap is not None and fences:
            found[want.lane] = min(fences)
    return found


def _slots(asking: Asking, look: _Look, taken: Sequence[_Taken]) -> int:
    """How many this want may have, after those before it."""
    want = asking.wants[look.place]
    slots = want.slots
    if want.cap is not None:
        slots = min(slots, want.cap - look.leases - sum(len(one.found) for one in taken if one.lane == want.lane))
    if asking.is_alone:
        slots = min(slots, 1 - sum(len(one.found) for one in taken))
    return slots


async def _take(tx: Tx, asking: Asking, look: _Look, slots: int, spans: Sequence[Span]) -> list[Position]:
    """Takes jobs out of ``ready``, in the order of claims."""
    want = asking.wants[look.place]
    if look.has_late:
        await _end_late(tx, want.queue, asking.is_alone, want.slots)
    parts = map(list, zip(*spans, strict=True))
    rows = await tx.run("claim.take", want.queue, asking.is_alone, slots, tx.now, *parts)
    return sorted(tuple(row) for row in rows)


async def _advance_clocks(tx: Tx, taken: Sequence[_Taken]) -> None:
    clocks: dict[str, float] = {}
    for one in taken:
        clocks[one.queue] = max([clocks.get(one.queue, 0.0), *(rank for _, rank, _ in one.found)])
    await tx.aside("ready.advance_clock", [item for item in clocks.items() if item[1]])


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
    tx.leases += [Lease(fence, job_id, worker.id) for job_id, fence in fences.items()]
    rows = await tx.run("claim.read", [job_id for job_id, _ in taken], tx.now)
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

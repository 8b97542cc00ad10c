"""The verb ``recover``: one bounded sweep, idempotent, safe from several processes at once."""

from forebay.domain.change import Recovered
from forebay.domain.job import Ending, Status
from forebay.policy.vigil import Vigil
from forebay.processes import IsGone
from forebay.stores.ends import EXPIRED_ERROR, End
from forebay.stores.postgres.ending import ask_groups, end_leaves, hasten
from forebay.stores.postgres.joins import settle
from forebay.stores.postgres.placing import move_due
from forebay.stores.postgres.transaction import Tx
from forebay.stores.postgres.workers import free_leases, read_worker

FORGET_AFTER_SECONDS = 86_400.0  # a worker's row after its death: until then its renewal is told


class Sweep:
    """The sweep, with its place in the round over the waiting jobs."""

    def __init__(self, is_gone: IsGone, vigil: Vigil) -> None:
        self._is_gone = is_gone
        self._vigil = vigil
        self._after = ""

    async def run(self, tx: Tx, limit: int) -> Recovered:
        """Does each step at most ``limit`` times."""
        rescued = await self._rescue(tx, limit)
        due = await move_due(tx, limit)
        expired, unsettled = await _expire(tx, limit)
        waiting = [row[0] for row in await tx.run("recover.waiting", self._after, limit)]
        timed = [row[0] for row in await tx.run("recover.timed_joins", tx.now, limit)]
        woken = await settle(tx, unsettled.union(waiting, timed))
        tx.unsettled.difference_update(waiting, timed)  # a sweep comes again
        self._after = waiting[-1] if len(waiting) == limit else ""
        return Recovered(
            rescued=rescued,
            expired=expired,
            due=due,
            woken=len(woken),
            suspects=tuple(row[0] for row in await tx.run("recover.suspects")),
            is_complete=max(rescued, due, expired, len(waiting), len(timed)) < limit,
        )

    async def _rescue(self, tx: Tx, limit: int) -> int:
        await tx.run("workers.hold_to_clock", tx.now)
        known = [read_worker(row) for row in await tx.run("workers.all")]
        gone = [one.id for one in known if self._is_gone(one)]
        dead = self._vigil.dead(known, tx.now) + gone
        if dead:
            await tx.run("workers.bury", dead, tx.now, gone)
        lost = [row[0] for row in await tx.run("rescue.lost", limit)]
        await free_leases(tx, lost, is_counted=True)
        await tx.run("workers.forget_buried", tx.now - FORGET_AFTER_SECONDS)
        return len(lost)


async def _expire(tx: Tx, limit: int) -> tuple[int, set[str]]:
    """Ends queued leaves past their deadline, asks groups past theirs; returns how many, and whom to settle."""
    groups = await tx.run("recover.late_groups", tx.now, limit)
    unsettled: set[str] = set()
    if groups:
        unsettled = await ask_groups(tx, [row[0] for row in groups], Ending.EXPIRE)
        await hasten(tx, [row[0] for row in groups if row[1]])
    leaves = [row[0] for row in await tx.run("recover.late_leaves", tx.now, limit)]
    parents, _ = await end_leaves(tx, [End(job_id, Status.FAILED, EXPIRED_ERROR) for job_id in leaves])
    unsettled |= parents
    return len(groups) + len(leaves), unsettled

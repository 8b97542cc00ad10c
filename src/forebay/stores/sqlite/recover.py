"""The verb ``recover``: one bounded sweep, idempotent, safe from several processes at once."""

import math

from forebay.domain.change import Recovered
from forebay.domain.job import Ending, Status
from forebay.policy.vigil import Vigil
from forebay.processes import IsGone
from forebay.stores.ends import EXPIRED_ERROR, End
from forebay.stores.sqlite.ending import ask_groups, end_leaves, hasten
from forebay.stores.sqlite.joins import settle
from forebay.stores.sqlite.placing import enqueue, move_due
from forebay.stores.sqlite.transaction import Tx
from forebay.stores.sqlite.workers import free_leases, read_worker

FORGET_AFTER_SECONDS = 86_400.0  # a worker's row after its death: until then its renewal is told


class Sweep:
    """The sweep, with its place in the round over the waiting jobs."""

    def __init__(self, is_gone: IsGone, vigil: Vigil) -> None:
        self._is_gone = is_gone
        self._vigil = vigil
        self._after = ""
        self._seen_at = math.inf  # the first sweep looks too: the clock may have been set back while nothing ran

    def run(self, tx: Tx, limit: int) -> Recovered:
        """Does each step at most ``limit`` times."""
        rescued = self._rescue(tx, limit)
        if tx.now < self._seen_at:
            _cut_pauses(tx)
        self._seen_at = tx.now
        due = move_due(tx, limit)
        expired, unsettled = _expire(tx, limit)
        waiting = [row[0] for row in tx.run("recover.waiting", self._after, limit)]
        timed = [row[0] for row in tx.run("recover.timed_joins", tx.now, limit)]
        woken = settle(tx, unsettled.union(waiting, timed))
        self._after = waiting[-1] if len(waiting) == limit else ""
        return Recovered(
            rescued=rescued,
            expired=expired,
            due=due,
            woken=len(woken),
            suspects=tuple(row[0] for row in tx.run("recover.suspects")),
            is_complete=max(rescued, due, expired, len(waiting), len(timed)) < limit,
        )

    def _rescue(self, tx: Tx, limit: int) -> int:
        tx.run("workers.hold_to_clock", tx.now)
        known = [read_worker(row) for row in tx.run("workers.all")]
        dead = {*self._vigil.dead(known, tx.now), *(one.id for one in known if self._is_gone(one))}
        if dead:
            tx.bulk("workers.bury", sorted(dead))
        lost = [row[0] for row in tx.run("rescue.lost", limit)]
        free_leases(tx, lost, is_counted=True)
        tx.run("workers.forget_buried", tx.now - FORGET_AFTER_SECONDS)
        return len(lost)


def _cut_pauses(tx: Tx) -> None:
    """Pauses that began in what is the future now: without this they last until the clock has caught up."""
    cut = tx.run("recover.overlong_pauses", tx.now)
    if cut:
        tx.bulk("recover.cut_pauses", cut)
        enqueue(tx, [job_id for job_id, _ in cut])


def _expire(tx: Tx, limit: int) -> tuple[int, set[str]]:
    """Ends queued leaves past their deadline, asks groups past theirs; returns how many, and whom to settle."""
    groups = tx.run("recover.late_groups", tx.now, limit)
    unsettled: set[str] = set()
    if groups:
        unsettled = ask_groups(tx, [row[0] for row in groups], Ending.EXPIRE)
        hasten(tx, [row[0] for row in groups if row[1]])
    leaves = [row[0] for row in tx.run("recover.late_leaves", tx.now, limit)]
    unsettled |= end_leaves(tx, [End(job_id, Status.FAILED, EXPIRED_ERROR) for job_id in leaves])
    return len(groups) + len(leaves), unsettled

"""What people ask of jobs that exist: ``cancel``, ``retry``, ``erase``, ``hasten``; and ``append`` to a stream."""

from collections.abc import Sequence

import msgspec

from forebay.domain.change import Lookup, Reply, Verdict
from forebay.domain.job import DEAD, Ending, Status
from forebay.domain.pipeline import RUN_KINDS
from forebay.stores.asked import CONTENT, Appending, Look, Named, Rewriting, replies_of
from forebay.stores.ends import CANCELLED_ERROR, End
from forebay.stores.rows import decode_fixed, without_args
from forebay.stores.sqlite.ending import ask_groups, end_leaves, hasten
from forebay.stores.sqlite.joins import settle
from forebay.stores.sqlite.placing import enqueue
from forebay.stores.sqlite.transaction import Row, Tx

_RUNS = msgspec.json.encode(RUN_KINDS).decode()


def cancel(tx: Tx, named: Named) -> list[Reply]:
    """One after the other: cancelling one may end the next."""
    for job_id in dict.fromkeys(named.job_ids):
        look = _look(tx, named.tenant, [job_id]).get(job_id)
        if look is not None and not Status(look.status).is_terminal and look.ending is None:
            _cancel(tx, look)
    return _replies(tx, named, [Lookup.DONE] * len(named.job_ids))


def retry(tx: Tx, named: Named) -> list[Reply]:
    lookups: list[Lookup] = []
    for job_id in named.job_ids:
        look = _look(tx, named.tenant, [job_id]).get(job_id)
        if look is None:
            lookups.append(Lookup.NOT_FOUND)
        elif Status(look.status) not in DEAD:
            lookups.append(Lookup.NOT_DEAD)
        elif look.parent_id and not look.is_counted:
            lookups.append(Lookup.PARENT_ENDED)
        else:
            _revive(tx, look)
            lookups.append(Lookup.DONE)
    return _replies(tx, named, lookups)


def erase(tx: Tx, named: Named) -> list[Reply]:
    looks = _look(tx, named.tenant, named.job_ids)
    ended = [look.id for look in looks.values() if Status(look.status).is_terminal]
    if ended:
        for name in CONTENT:
            tx.bulk(name, ended)
        for row in tx.bulk("change.plans", ended, _RUNS):
            tx.run("change.drop_plan", row[0], without_args(row[1]))
    erased = set(ended)
    lookups = [Lookup.DONE if job_id in erased else Lookup.NOT_DEAD for job_id in named.job_ids]
    return _replies(tx, named, lookups)


def hasten_waiting(tx: Tx, named: Named) -> list[str]:
    ahead = [row[0] for row in tx.bulk("change.ahead", list(dict.fromkeys(named.job_ids)), named.tenant, tx.now)]
    hasten(tx, ahead)
    return ahead


def rewrite(tx: Tx, rewriting: Rewriting) -> bool:
    job_id, segment, blob_id = rewriting
    place = (job_id, segment.name, segment.number, segment.blob_id, blob_id)
    if not tx.run("change.rewrite_segment", *place):
        return False
    tx.run("change.rewrite_ref", job_id, f"segment:{segment.name}", segment.blob_id, blob_id)
    return True


def append(tx: Tx, appending: Appending) -> Verdict:
    job_id, fence, texts, first = appending
    if not tx.run("change.has_lease", fence, job_id)[0][0]:
        return Verdict.LEASE_LOST
    if texts:
        tx.bulk("change.append", list(texts), job_id, first)
        tx.topics.add("job:" + job_id)
    return Verdict.APPLIED


def _look(tx: Tx, tenant: str, job_ids: Sequence[str]) -> dict[str, Look]:
    return {row[0]: Look(*row) for row in tx.bulk("change.look", list(job_ids), tenant)}


def _replies(tx: Tx, named: Named, lookups: Sequence[Lookup]) -> list[Reply]:
    """The state after the verb, for each id asked; ``lookups`` are those of jobs that exist."""
    looks = _look(tx, named.tenant, named.job_ids)
    return replies_of(looks, named.job_ids, lookups)


def _cancel(tx: Tx, look: Look) -> None:
    if look.is_group:
        unsettled = ask_groups(tx, [look.id], Ending.CANCEL)
        if look.status == Status.QUEUED and not look.is_running:
            hasten(tx, [look.id])
    elif look.is_running:
        tx.bulk("end.ask", [look.id], Ending.CANCEL)
        unsettled = set()
    else:
        unsettled = end_leaves(tx, [End(look.id, Status.CANCELLED, CANCELLED_ERROR)])
    settle(tx, unsettled)


def _revive(tx: Tx, look: Look) -> None:
    """Queues a dead job again, and what is dead below it if it is a group; the parent counts it again."""
    if look.is_collected:
        _untake(tx, look.parent_id, [(look.status, *look[-5:])])
    deadlines = {look.id: _fresh_deadline(tx, look.fixed, look.parent_deadline if look.parent_id else None)}
    groups = [look.id] if look.is_group else []
    while groups:
        group_id = groups.pop()
        children = tx.run("change.dead_children", group_id)
        _untake(tx, group_id, [(row[4], *row[-5:]) for row in children if row[3]])
        for child_id, is_group, fixed, *_ in children:
            deadlines[child_id] = _fresh_deadline(tx, fixed, deadlines[group_id])
            if is_group:
                groups.append(child_id)
    named = list(deadlines)
    tx.bulk("apply.drop_results", named)
    tx.bulk("apply.drop_result_refs", named)
    tx.bulk("delete.chunks", named)  # else its stream looks cut, and is never sent again
    tx.bulk("change.revive", list(deadlines.items()), tx.now)
    enqueue(tx, named)
    if not look.parent_id:
        owner = decode_fixed(look.fixed)
        tx.run("change.rename_notices", owner.tenant, f"end:{look.id}:", f"end:{look.id};")


def _fresh_deadline(tx: Tx, fixed: str, parent_deadline: float | None) -> float:
    fresh = tx.now + decode_fixed(fixed).lifespan_seconds
    return fresh if parent_deadline is None else min(fresh, parent_deadline)


def _untake(tx: Tx, parent_id: str, children: list[Row]) -> None:
    """Takes back what ``taking.take_over`` added for these dead children (status, tokens of four kinds, cost)."""
    for status, *sums in children:
        failed, cancelled = -int(status == Status.FAILED), -int(status == Status.CANCELLED)
        negative = [None if one is None else -one for one in sums]
        tx.run("apply.take_over", parent_id, 0, failed, cancelled, *negative)

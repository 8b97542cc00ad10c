"""The verbs ``begin`` and ``apply``: attempts before they are sent, and what answers do.

Leaves are written in bulk. Groups, and jobs that become groups, one by one after them: what one does (its children
are cancelled) may be another's state.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from forebay.domain.attempt import Attempt
from forebay.domain.change import Change, Verdict
from forebay.domain.job import JobError, Result, Status
from forebay.stores.answered import State, decide, state_of
from forebay.stores.postgres.adding import add_jobs
from forebay.stores.postgres.ending import add_notices, cancel_children
from forebay.stores.postgres.joins import settle
from forebay.stores.postgres.placing import enqueue
from forebay.stores.postgres.taking import take_over
from forebay.stores.postgres.transaction import Tx
from forebay.stores.rows import encode_usage, usage_columns


async def begin_calls(tx: Tx, calls: Sequence[Sequence[Attempt]]) -> list[list[Verdict]]:
    """Runs the begins of one commit as one."""
    rows = [(a.job_id, a.number, a.fence, a.target, a.started_at, a.model) for attempts in calls for a in attempts]
    held = {(row[0], row[1]) for row in await tx.bulk("begin.insert", rows)}
    return [[_verdict((a.fence, a.job_id) in held) for a in attempts] for attempts in calls]


async def apply_calls(tx: Tx, calls: Sequence[Sequence[Change]]) -> list[list[Verdict]]:
    """Runs the applies of one commit as one."""
    verdicts = iter(await apply(tx, [change for changes in calls for change in changes]))
    return [[next(verdicts) for _ in changes] for changes in calls]


async def apply(tx: Tx, changes: Sequence[Change]) -> list[Verdict]:
    """Writes changes; those of leaves first."""
    leaves: list[int] = []
    groups: list[int] = []
    seen: set[int] = set()
    for place, change in enumerate(changes):
        is_plain = change.status is not Status.WAITING and not change.children and change.fence not in seen
        seen.add(change.fence)
        taking = change.taking
        is_taking = bool(taking.collect or taking.dead or taking.segments)
        (leaves if is_plain and not is_taking else groups).append(place)
    states = await _states(tx, changes, leaves)
    # After the rows of jobs are held: who rescues takes them in that order too. Before their places are chosen.
    await _complete(tx, [changes[place] for place in leaves])
    groups += [place for place, state in states.items() if state.is_group]
    plain = {place: state for place, state in states.items() if not state.is_group}
    await _write(tx, [(changes[place], state) for place, state in plain.items()])
    applied = set(plain)
    for place in sorted(groups):
        state = (await _states(tx, changes, [place])).get(place)
        await _complete(tx, [changes[place]])
        if state is not None:
            await _write_group(tx, changes[place], state)
            applied.add(place)
    return [_verdict(place in applied) for place in range(len(changes))]


async def _states(tx: Tx, changes: Sequence[Change], places: list[int]) -> dict[int, State]:
    """By place; a change whose lease is lost has none."""
    if not places:
        return {}
    rows = await tx.bulk("apply.states", [(changes[place].fence, changes[place].job_id) for place in places])
    return {places[row[0]]: state_of(row) for row in rows}


async def _write(tx: Tx, items: Sequence[tuple[Change, State]]) -> None:
    """The own rows of the changes, their results, leases, places and notices."""
    if not items:
        return
    rows: list[tuple[Any, ...]] = []
    queued: list[str] = []
    noticed: list[str] = []
    stale: list[str] = []
    results: list[tuple[str, Result]] = []
    for change, state in items:
        status, error = decide(change, state)
        rows.append(_row(tx, change, state, status, error))
        if status.is_terminal:
            tx.topics.add("job:" + change.job_id)
            if state.has_notices:
                noticed.append(change.job_id)
        elif status is Status.QUEUED:
            queued.append(change.job_id)
        if status is not Status.WAITING:
            if state.has_result:
                stale.append(change.job_id)
            if change.result is not None:
                results.append((change.job_id, change.result))
    await tx.bulk("apply.update", rows)
    await tx.bulk("apply.end_leases", [change.fence for change, _ in items])
    await _keep_results(tx, stale, results)
    if queued:
        await enqueue(tx, queued)
    await add_notices(tx, noticed)


def _row(tx: Tx, change: Change, state: State, status: Status, error: JobError | None) -> tuple[Any, ...]:
    due_at = None
    if status is Status.QUEUED:
        due_at = tx.now if change.due_at is None else change.due_at
    return (
        change.job_id,
        status,
        due_at,
        tx.now if status.is_terminal else None,
        state.claimed_at,
        change.attempts_used,
        change.progress,
        status is not Status.WAITING,
        None if error is None else error.code,
        None if error is None else error.message,
        *usage_columns(change.usage),
        change.cost_usd,
    )


async def _keep_results(tx: Tx, stale: list[str], results: list[tuple[str, Result]]) -> None:
    await tx.bulk("apply.drop_results", stale)
    await tx.bulk("apply.drop_result_refs", stale)
    await tx.bulk(
        "apply.insert_results",
        [
            (job_id, one.status_code, one.body.text, one.body.blob_id, one.body.bytes, one.request_id)
            for job_id, one in results
        ],
    )
    refs = [(job_id, "result", one.body.blob_id) for job_id, one in results if one.body.blob_id is not None]
    await tx.bulk("add.insert_refs", refs)


async def _write_group(tx: Tx, change: Change, state: State) -> None:
    """A group's change: what it takes over, its own row, its children, and what is cancelled with its end."""
    await take_over(tx, change.job_id, change.taking)
    await _write(tx, [(change, state)])
    if change.status is Status.WAITING and change.join is not None:
        await tx.run("apply.set_join", change.job_id, change.join.successes, change.join.live, change.join.until)
    await add_jobs(tx, change.children)
    status, _ = decide(change, state)
    if status.is_terminal:
        await settle(tx, await cancel_children(tx, [change.job_id]))


async def _complete(tx: Tx, changes: Iterable[Change]) -> None:
    rows = [
        (
            a.job_id,
            a.number,
            a.fence,
            a.outcome,
            a.finished_at,
            a.status_code,
            a.error,
            a.retry_at,
            encode_usage(a.usage),
            a.cost_usd,
            a.model,
        )
        for change in changes
        for a in change.attempts
    ]
    await tx.bulk("apply.complete", rows)


def _verdict(is_applied: bool) -> Verdict:
    return Verdict.APPLIED if is_applied else Verdict.LEASE_LOST

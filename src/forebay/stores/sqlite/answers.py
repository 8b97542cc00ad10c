"""The verbs ``begin`` and ``apply``: attempts before they are sent, and what answers do.

Leaves are written in bulk. Groups, and jobs that become groups, one by one after them: what one does (its children
are cancelled) may be another's state.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from forebay.domain.attempt import Attempt
from forebay.domain.change import Change, Verdict
from forebay.domain.job import TERMINAL, JobError, Result, Status
from forebay.stores.answered import State, decide, state_of
from forebay.stores.rows import encode_usage, usage_columns
from forebay.stores.sqlite.adding import add_jobs
from forebay.stores.sqlite.ending import add_notices, cancel_children
from forebay.stores.sqlite.joins import settle
from forebay.stores.sqlite.placing import enqueue
from forebay.stores.sqlite.taking import take_over
from forebay.stores.sqlite.transaction import Binding, Tx, as_json

BEGUN_COLUMNS = 6  # that `begin.insert` is given
ATTEMPT_COLUMNS = 11
RESULT_COLUMNS = 6


def begin_calls(tx: Tx, calls: Sequence[Sequence[Attempt]]) -> list[list[Verdict]]:
    """Runs the begins of one commit as one."""
    rows = [(a.job_id, a.number, a.fence, a.target, a.started_at, a.model) for attempts in calls for a in attempts]
    before = tx.connection.total_changes()
    tx.spread("begin.insert", BEGUN_COLUMNS, [value for row in rows for value in row])
    if tx.connection.total_changes() - before == len(rows):
        return [[Verdict.APPLIED] * len(attempts) for attempts in calls]
    held = set(tx.bulk("begin.held", rows))
    return [[_verdict((a.fence, a.job_id) in held) for a in attempts] for attempts in calls]


def apply_calls(tx: Tx, calls: Sequence[Sequence[Change]]) -> list[list[Verdict]]:
    """Runs the applies of one commit as one."""
    verdicts = iter(apply(tx, [change for changes in calls for change in changes]))
    return [[next(verdicts) for _ in changes] for changes in calls]


def apply(tx: Tx, changes: Sequence[Change]) -> list[Verdict]:
    """Writes changes; those of leaves first."""
    _complete(tx, changes)
    leaves: list[int] = []
    groups: list[int] = []
    seen: set[int] = set()
    for place, change in enumerate(changes):
        is_plain = change.status is not Status.WAITING and not change.children and change.fence not in seen
        seen.add(change.fence)
        taking = change.taking
        is_taking = bool(taking.collect or taking.dead or taking.segments)
        (leaves if is_plain and not is_taking else groups).append(place)
    states = _states(tx, changes, leaves)
    groups += [place for place, state in states.items() if state.is_group]
    plain = {place: state for place, state in states.items() if not state.is_group}
    _write(tx, [(changes[place], state) for place, state in plain.items()])
    applied = set(plain)
    for place in sorted(groups):
        state = _states(tx, changes, [place]).get(place)
        if state is not None:
            _write_group(tx, changes[place], state)
            applied.add(place)
    return [_verdict(place in applied) for place in range(len(changes))]


def _states(tx: Tx, changes: Sequence[Change], places: list[int]) -> dict[int, State]:
    """By place; a change whose lease is lost has none."""
    if not places:
        return {}
    rows = tx.packed("apply.states", as_json([(changes[place].fence, changes[place].job_id) for place in places]))
    return {places[row[0]]: state_of(row) for row in rows}


def _write(tx: Tx, items: Sequence[tuple[Change, State]]) -> None:
    """The own rows of the changes, their results, leases, places and notices."""
    if not items:
        return
    _update(tx, items)
    queued: list[str] = []
    noticed: list[str] = []
    stale: list[str] = []
    results: list[tuple[str, Result]] = []
    for change, state in items:
        status, _ = decide(change, state)
        if status in TERMINAL:
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
    tx.bulk("apply.end_leases", [change.fence for change, _ in items])
    _keep_results(tx, stale, results)
    if queued:
        enqueue(tx, queued)
    add_notices(tx, noticed)


def _update(tx: Tx, items: Sequence[tuple[Change, State]]) -> None:
    """The own rows; most answers succeed and change little."""
    succeeded: list[tuple[Any, ...]] = []
    others: list[tuple[Any, ...]] = []
    for change, state in items:
        status, error = decide(change, state)
        if status is Status.SUCCEEDED and change.progress is None and not change.attempts_used:
            succeeded.append((change.job_id, state.claimed_at, *usage_columns(change.usage), change.cost_usd))
        else:
            others.append(_row(tx, change, state, status, error))
    if succeeded:
        tx.bulk("apply.succeed", succeeded, tx.now)
    if others:
        tx.bulk("apply.update", others)


def _row(tx: Tx, change: Change, state: State, status: Status, error: JobError | None) -> tuple[Any, ...]:
    due_at = None
    if status is Status.QUEUED:
        due_at = tx.now if change.due_at is None else change.due_at
    return (
        change.job_id,
        status,
        due_at,
        tx.now if status in TERMINAL else None,
        state.claimed_at,
        change.attempts_used,
        change.progress,
        status is not Status.WAITING,
        None if error is None else error.code,
        None if error is None else error.message,
        *usage_columns(change.usage),
        change.cost_usd,
    )


def _keep_results(tx: Tx, stale: list[str], results: list[tuple[str, Result]]) -> None:
    if stale:
        tx.bulk("apply.drop_results", stale)
        tx.bulk("apply.drop_result_refs", stale)
    if not results:
        return
    values: list[Binding] = []
    for job_id, one in results:
        values += (job_id, one.status_code, one.body.text, one.body.blob_id, one.body.bytes, one.request_id)
    tx.spread("apply.insert_results", RESULT_COLUMNS, values)
    refs = [(job_id, "result", one.body.blob_id) for job_id, one in results if one.body.blob_id is not None]
    if refs:
        tx.bulk("add.insert_refs", refs)


def _write_group(tx: Tx, change: Change, state: State) -> None:
    """A group's change: what it takes over, its own row, its children, and what is cancelled with its end."""
    take_over(tx, change.job_id, change.taking)
    _write(tx, [(change, state)])
    if change.status is Status.WAITING and change.join is not None:
        tx.run("apply.set_join", change.job_id, change.join.successes, change.join.live, change.join.until)
    add_jobs(tx, change.children)
    status, _ = decide(change, state)
    if status.is_terminal:
        settle(tx, cancel_children(tx, [change.job_id]))


def _complete(tx: Tx, changes: Iterable[Change]) -> None:
    values: list[Binding] = []
    for change in changes:
        for a in change.attempts:
            values += (
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
    tx.spread("apply.complete", ATTEMPT_COLUMNS, values)


def _verdict(is_applied: bool) -> Verdict:
    return Verdict.APPLIED if is_applied else Verdict.LEASE_LOST

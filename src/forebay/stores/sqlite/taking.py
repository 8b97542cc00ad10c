"""What a group takes over from its children: counts, sums and segments in, rows out, in one transaction."""

from collections.abc import Sequence

from forebay.domain.answer import Taking
from forebay.domain.content import Segment
from forebay.domain.job import Status
from forebay.stores.rows import sums_of
from forebay.stores.sqlite.deleting import below, delete_jobs
from forebay.stores.sqlite.transaction import Row, Tx


def take_over(tx: Tx, parent_id: str, taking: Taking) -> None:
    """Takes each child once: what was taken before, or is no terminal child of this parent, is passed over; likewise a
    child that was read as dead and has been retried with success since.
    """
    named = list(dict.fromkeys((*taking.collect, *taking.dead)))
    if named:
        dead = frozenset(taking.dead)
        rows = tx.bulk("apply.takeable", named, parent_id)
        _collect(tx, parent_id, [row for row in rows if row[0] not in dead or row[1] != Status.SUCCEEDED])
    if taking.segments:
        _append_segments(tx, parent_id, taking.segments)


def _collect(tx: Tx, parent_id: str, children: list[Row]) -> None:
    if not children:
        return
    succeeded = [child[0] for child in children if child[1] == Status.SUCCEEDED]
    dead = [child[0] for child in children if child[1] != Status.SUCCEEDED]
    cancelled = sum(child[1] == Status.CANCELLED for child in children)
    tx.run("apply.take_over", parent_id, len(succeeded), len(dead) - cancelled, cancelled, *sums_of(children))
    groups = [child[0] for child in children if child[2] and child[1] == Status.SUCCEEDED]
    delete_jobs(tx, succeeded + (below(tx, groups) if groups else []))
    if dead:
        tx.bulk("apply.collect", dead)


def _append_segments(tx: Tx, job_id: str, segments: Sequence[Segment]) -> None:
    numbers: dict[str, int] = dict(tx.run("apply.next_numbers", job_id))
    rows: list[tuple[str, str, int, str, int, int]] = []
    for segment in segments:
        number = numbers.get(segment.name, 0)
        numbers[segment.name] = number + 1
        rows.append((job_id, segment.name, number, segment.blob_id, segment.lines, segment.bytes))
    tx.bulk("apply.insert_segments", rows)
    tx.bulk("add.insert_refs", [(job_id, f"segment:{name}", blob_id) for _, name, _, blob_id, _, _ in rows])

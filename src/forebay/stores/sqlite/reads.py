"""What is read of jobs beside ``find``: by id, tallies, depths, streams and segments. Each runs on a reader."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from forebay.domain.change import Depth, Tally, Worker
from forebay.domain.content import Chunk, Content, Segment
from forebay.domain.job import LIVE, Job, Status
from forebay.domain.query import Parts
from forebay.stores.rows import attempt_of, content_of, decode_job, result_of, segment_of, usage_of
from forebay.stores.sqlite.transaction import Row, Session
from forebay.stores.sqlite.workers import read_worker


def get(session: Session, tenant: str | None, job_ids: Sequence[str], parts: Parts) -> list[Job | None]:
    rows = session.bulk("read.jobs", list(job_ids), tenant)
    jobs = {job.id: job for job in with_parts(session, [decode_job(row) for row in rows], parts)}
    return [jobs.get(job_id) for job_id in job_ids]


def with_parts(session: Session, jobs: list[Job], parts: Parts) -> list[Job]:
    """Adds the asked parts, one statement for each kind of part."""
    if not jobs or not (parts.body or parts.result or parts.attempts or parts.segments):
        return jobs
    ids = [job.id for job in jobs]
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    if parts.body:
        for row in session.bulk("read.bodies", ids):
            body: Content | None = content_of(*row[1:])
            found[row[0]]["body"] = body
    if parts.result:
        for row in session.bulk("read.results", ids):
            found[row[0]]["result"] = result_of(row[1:])
    if parts.attempts:
        for job_id, rows in _by_job(session.bulk("read.attempts", ids)).items():
            found[job_id]["attempts"] = tuple(attempt_of(row) for row in rows)
    if parts.segments:
        for job_id, rows in _by_job(session.bulk("read.all_segments", ids)).items():
            found[job_id]["segments"] = tuple(segment_of(row[1:]) for row in rows)
    return [replace(job, **found[job.id]) if job.id in found else job for job in jobs]


def tally(session: Session, job_ids: Sequence[str]) -> list[Tally]:
    """Taken-over children by the parent's row, the others by theirs."""
    named = list(dict.fromkeys(job_ids))
    taken = {row[0]: row[1:] for row in session.bulk("read.taken", named)}
    rows = _by_job(session.bulk("read.tallies", named))
    return [_tally(taken.get(job_id), rows.get(job_id, [])) for job_id in job_ids]


def depths(session: Session) -> list[Depth]:
    return [
        Depth(queue=row[0], queued=row[1], running=row[2], oldest_queued_at=row[3], dead=row[4])
        for row in session.run("read.depths")
    ]


def backlog(session: Session, tenant: str, ceiling: int) -> int:
    rows = session.run("read.backlog", tenant, ceiling)
    return int(rows[0][0])


def queues(session: Session, prefix: str, after: str, limit: int) -> list[str]:
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return [row[0] for row in session.run("read.queues", max(prefix, after), end, limit)]


def workers(session: Session) -> list[Worker]:
    return [read_worker(row) for row in session.run("workers.all")]


def chunks(session: Session, job_id: str, after: int, limit: int) -> list[Chunk]:
    return [Chunk(number=row[0], text=row[1]) for row in session.run("read.chunks", job_id, after, limit)]


def segments(session: Session, job_id: str, name: str, after: int) -> list[Segment]:
    return [segment_of(row) for row in session.run("read.segments", job_id, name, after)]


def orphans(session: Session, blob_ids: Sequence[str]) -> list[str]:
    return [row[0] for row in session.bulk("read.orphans", list(blob_ids))]


def _by_job(rows: list[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row[0], []).append(row)
    return grouped


def _tally(taken: Row | None, rows: list[Row]) -> Tally:
    counts: dict[Status, int] = defaultdict(int)
    sums = list(taken[3:] if taken else (None,) * 5)
    for row in rows:
        counts[Status(row[1])] += row[2]
        sums = [old if new is None else (old or 0) + new for old, new in zip(sums, row[3:], strict=True)]
    succeeded, failed, cancelled = taken[:3] if taken else (0, 0, 0)
    return Tally(
        live=sum(counts[status] for status in LIVE),
        succeeded=succeeded + counts[Status.SUCCEEDED],
        failed=failed + counts[Status.FAILED],
        cancelled=cancelled + counts[Status.CANCELLED],
        usage=usage_of(tuple(sums[:4])),
        cost_usd=sums[4],
    )

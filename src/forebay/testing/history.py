"""The history checker: what must be true of a store's jobs and ledger whatever broke while they were made.

Accepted = succeeded + failed + cancelled + live. No job has two results. Fences only grow. Each notice stands once.
``violations`` says what is not so, one sentence each; ``forebay.testing.calls`` holds the ledger against what a mock
model saw, ``forebay.testing.watching`` a store against its own earlier self.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import msgspec

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.batch import LEDGER, OUTPUT
from forebay.domain.job import Job, Status
from forebay.domain.query import JobQuery, Parts
from forebay.domain.webhook import NOTIFY
from forebay.ports import BlobStore, JobStore

PAGE = 500
WHOLE = Parts(result=True, attempts=True, segments=True)
NOTICE_PREFIX = "end:"  # of the keys of notices


class LedgerLine(msgspec.Struct, kw_only=True):
    """A batch's line that was taken over: its job has no row any more."""

    job_id: str
    custom_id: str
    attempts: tuple[Attempt, ...]


@dataclass(slots=True)
class History:
    """All that a store remembers. ``ledgers`` and ``outputs``: by batch."""

    jobs: dict[str, Job] = field(default_factory=dict)
    ledgers: dict[str, list[LedgerLine]] = field(default_factory=dict)
    outputs: dict[str, list[str]] = field(default_factory=dict)  # custom ids, line by line

    def attempts(self) -> Iterator[tuple[str, tuple[Attempt, ...]]]:
        """Each job that made calls, or may have, with its attempts in order."""
        for job in self.jobs.values():
            if not job.is_group or job.attempts:  # a job that split its task is a group, and has called its function
                yield job.id, job.attempts
        for lines in self.ledgers.values():
            for line in lines:
                yield line.job_id, line.attempts

    def statuses(self) -> Counter[Status]:
        """Top-level jobs by status."""
        return Counter(job.status for job in self.jobs.values() if not job.parent_id)

    def outcomes(self) -> Counter[Outcome]:
        return Counter(attempt.outcome for _, attempts in self.attempts() for attempt in attempts)


async def read_history(jobs: JobStore, blobs: BlobStore) -> History:
    """Reads everything; work may go on meanwhile, but then calls and ledger can't be compared."""
    history = History()
    after: str | None = None
    while True:
        query = JobQuery(tenant=None, parent_id=None, after=after, limit=PAGE, is_ascending=True, parts=WHOLE)
        page = await jobs.find(query)
        for job in page:
            history.jobs[job.id] = job
        if len(page) < PAGE:
            break
        after = page[-1].id
    for job in history.jobs.values():
        if job.is_group:
            history.ledgers[job.id] = [
                msgspec.json.decode(line, type=LedgerLine) for line in await _lines(job, LEDGER, blobs)
            ]
            history.outputs[job.id] = [
                str(msgspec.json.decode(line)["custom_id"]) for line in await _lines(job, OUTPUT, blobs)
            ]
    return history


def violations(history: History, *, accepted: Collection[str] = (), is_over: bool = True) -> list[str]:
    """What is not as it must be; empty if all is well.

    ``accepted``: ids of all top-level jobs that were acknowledged. ``is_over``: nothing runs now.
    """
    return [
        *_of_states(history, accepted, is_over=is_over),
        *_of_results(history),
        *_of_notices(history),
        *_of_attempts(history, is_over=is_over),
    ]


async def _lines(job: Job, name: str, blobs: BlobStore) -> list[bytes]:
    lines: list[bytes] = []
    for segment in job.segments:
        if segment.name == name:
            lines += b"".join([piece async for piece in blobs.read(segment.blob_id)]).splitlines()
    return lines


def _of_states(history: History, accepted: Collection[str], *, is_over: bool) -> Iterator[str]:
    """Accepted = succeeded + failed + cancelled + live: each accepted job is there, in one state that fits it."""
    for job_id in accepted:
        if job_id not in history.jobs:
            yield f"{job_id} was acknowledged and is gone"
    for job in history.jobs.values():
        if job.is_terminal != (job.finished_at is not None):
            yield f"{job.id} is {job.status} and ended at {job.finished_at}"
        if job.status is Status.SUCCEEDED and job.error is not None:
            yield f"{job.id} succeeded with the error {job.error}"
        if job.status is Status.FAILED and job.error is None:
            yield f"{job.id} failed without an error"
        if not is_over or not job.parent_id:
            continue
        parent = history.jobs.get(job.parent_id)
        if parent is None:
            yield f"{job.id} is a child of {job.parent_id}, which is gone"
        elif parent.is_terminal and not job.is_terminal:
            yield f"{job.id} is {job.status} and its parent {parent.id} has ended"


def _of_notices(history: History) -> Iterator[str]:
    """The outbox: an ended root has each of its notices once, a live one none of its next end."""
    there = Counter((job.tenant, job.key) for job in history.jobs.values() if job.key.startswith(NOTICE_PREFIX))
    for job in history.jobs.values():
        for place in range(len(job.on_end)):
            times = there[job.tenant, f"{NOTICE_PREFIX}{job.id}:{place}"]
            if times != int(job.is_terminal):
                yield f"{job.id} is {job.status} and has its notice {place} {times} times"


def _of_results(history: History) -> Iterator[str]:
    for job in history.jobs.values():
        if job.is_group or job.kind == NOTIFY or job.status is not Status.SUCCEEDED:
            continue
        if job.result is None:
            yield f"{job.id} succeeded without a result"
        if not any(attempt.outcome is Outcome.SUCCEEDED for attempt in job.attempts):
            yield f"{job.id} succeeded without an answered attempt"
    for batch_id, lines in history.ledgers.items():
        for job_id, times in Counter(line.job_id for line in lines).items():
            if times > 1:
                yield f"{job_id} was taken over {times} times into {batch_id}"
            if job_id in history.jobs:
                yield f"{job_id} was taken over into {batch_id} and still has a row"
    for batch_id, custom_ids in history.outputs.items():
        for custom_id, times in Counter(custom_ids).items():
            if times > 1:
                yield f"{custom_id} stands {times} times in the output of {batch_id}"


def _of_attempts(history: History, *, is_over: bool) -> Iterator[str]:
    owners: dict[int, str] = {}
    for job_id, attempts in history.attempts():
        if [attempt.number for attempt in attempts] != list(range(1, len(attempts) + 1)):
            yield f"{job_id} has attempts {[attempt.number for attempt in attempts]}"
        fences = [attempt.fence for attempt in attempts]
        if fences != sorted(set(fences)):
            yield f"{job_id} has fences that do not grow: {fences}"
        for fence in fences:
            if owners.setdefault(fence, job_id) != job_id:
                yield f"fence {fence} was given to {job_id} and to {owners[fence]}"
        if is_over and any(attempt.outcome is Outcome.RUNNING for attempt in attempts):
            yield f"{job_id} has an attempt that never ended"

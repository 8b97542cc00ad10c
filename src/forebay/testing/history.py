"""The history checker: what must be true of a store's jobs and ledger whatever broke while they were made.

Accepted = succeeded + failed + cancelled + live. No job is answered twice. Every call that a target saw stands in the
ledger. Fences only grow. ``violations`` says what is not so, one sentence each.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.batch import LEDGER, OUTPUT
from forebay.domain.job import Job, Status
from forebay.domain.query import JobQuery, Parts
from forebay.ports import BlobStore, JobStore

PAGE = 500
WHOLE = Parts(result=True, attempts=True, segments=True)


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
            if not job.is_group:
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


def violations(
    history: History, *, accepted: Collection[str] = (), calls: Mapping[str, int] | None = None, is_over: bool = True
) -> list[str]:
    """What is not as it must be; empty if all is well.

    ``accepted``: ids that were acknowledged. ``calls``: what the target saw, by job. ``is_over``: nothing runs now.
    """
    found = [f"{job_id} was acknowledged and is gone" for job_id in accepted if job_id not in history.jobs]
    found += _of_results(history)
    found += _of_attempts(history, is_over=is_over)
    if calls is not None:
        found += _of_calls(history, calls)
    return found


async def _lines(job: Job, name: str, blobs: BlobStore) -> list[bytes]:
    lines: list[bytes] = []
    for segment in job.segments:
        if segment.name == name:
            lines += b"".join([piece async for piece in blobs.read(segment.blob_id)]).splitlines()
    return lines


def _of_results(history: History) -> Iterator[str]:
    for job in history.jobs.values():
        if job.is_group or job.status is not Status.SUCCEEDED:
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


def _of_calls(history: History, calls: Mapping[str, int]) -> Iterator[str]:
    known: set[str] = set()
    for job_id, attempts in history.attempts():
        known.add(job_id)
        seen, answered = calls.get(job_id, 0), sum(map(_was_answered, attempts))
        if seen > len(attempts):
            yield f"{job_id} was called {seen} times and has {len(attempts)} attempts"
        if seen < answered:
            yield f"{job_id} was called {seen} times and has {answered} answers"
    for job_id in calls.keys() - known:
        yield f"{job_id} was called and is not known"


def _was_answered(attempt: Attempt) -> bool:
    """Whether the target surely saw the call; a broken-off or unknown one may not have left."""
    return attempt.outcome is Outcome.SUCCEEDED or attempt.status_code is not None

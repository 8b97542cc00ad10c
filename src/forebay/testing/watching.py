"""Watches a store while it is being worked: what was once said must stay said.

A terminal state is for ever, a result never changes, and line N of an output, once readable, is line N for ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from forebay.domain.job import Job, JobError, Result, Status
from forebay.testing.history import History, LedgerLine


class Said(NamedTuple):
    """All of an ended job that anyone may have read."""

    parent_id: str
    status: Status
    result: Result | None
    error: JobError | None
    finished_at: float | None


@dataclass(slots=True)
class Watcher:
    """Shown one reading of the store after the other, in order, it collects what one took back of those before.

    ``is_retried``: dead jobs may be queued again by request, and then only successes are for ever.
    """

    is_retried: bool = False
    broken: list[str] = field(default_factory=list)
    sightings: int = 0
    _ended: dict[str, Said] = field(default_factory=dict)
    _outputs: dict[str, list[str]] = field(default_factory=dict)
    _ledgers: dict[str, list[LedgerLine]] = field(default_factory=dict)

    def see(self, history: History) -> None:
        """Holds a reading against all before it."""
        self.sightings += 1
        self.broken += self._of_jobs(history)
        self.broken += self._of_outputs(history)

    def _of_jobs(self, history: History) -> Iterator[str]:
        taken = {line.job_id for lines in history.ledgers.values() for line in lines}
        for job_id, before in self._ended.items():
            job = history.jobs.get(job_id)
            if job is None:
                parent = history.jobs.get(before.parent_id)
                is_being_taken = parent is not None and not parent.is_terminal  # pages are not read in one snapshot
                if job_id not in taken and not is_being_taken:
                    yield f"{job_id} had ended ({before.status}) and is gone"
            elif (now := _said(job)) != before:
                yield f"{job_id} had ended as {before} and is {now}"
        for job in history.jobs.values():
            if job.status is Status.SUCCEEDED or (job.is_terminal and not self.is_retried):
                self._ended[job.id] = _said(job)

    def _of_outputs(self, history: History) -> Iterator[str]:
        for batch_id, before in self._outputs.items():
            if history.outputs.get(batch_id, [])[: len(before)] != before:
                yield f"the output of {batch_id} changed within its first {len(before)} lines"
        for batch_id, known in self._ledgers.items():
            if history.ledgers.get(batch_id, [])[: len(known)] != known:
                yield f"the ledger of {batch_id} changed within its first {len(known)} lines"
        self._outputs |= {batch_id: list(lines) for batch_id, lines in history.outputs.items()}
        self._ledgers |= {batch_id: list(lines) for batch_id, lines in history.ledgers.items()}


def _said(job: Job) -> Said:
    return Said(job.parent_id, job.status, job.result, job.error, job.finished_at)

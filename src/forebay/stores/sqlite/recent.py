"""Jobs that this process has just added: a claim need not read and decode what is still in hand.

A job is served from here only while it stands in ``ready`` as it was added (``ready.is_fresh``): whatever happens to a
job takes it out of there first, in whichever process, and what comes back is not fresh.
"""

from collections.abc import Sequence
from itertools import takewhile

from forebay.domain.job import Job

MOST_JOBS = 4096  # more than a batch adds in one step
MOST_BYTES = 8 * 1024 * 1024  # of their bodies
STALE_SECONDS = 30.0  # others have claimed it, or the queue is long: it makes room


class Recent:
    """Used by the writer's thread alone. When it is full, new jobs are not kept: claims take the old ones."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[float, Job]] = {}
        self._bytes = 0

    def keep(self, jobs: Sequence[Job], now: float) -> None:
        """Keeps jobs whose rows are committed."""
        if jobs and not self._has_room:
            self._drop_stale(now)
        for job in jobs:
            if not self._has_room:
                return
            self._jobs[job.id] = (now, job)
            self._bytes += _size(job)

    def take(self, job_id: str) -> Job | None:
        """Returns the job as it was added, once."""
        found = self._jobs.pop(job_id, None)
        if found is None:
            return None
        self._bytes -= _size(found[1])
        return found[1]

    @property
    def _has_room(self) -> bool:
        return len(self._jobs) < MOST_JOBS and self._bytes < MOST_BYTES

    def _drop_stale(self, now: float) -> None:
        stale = list(takewhile(lambda job_id: now - self._jobs[job_id][0] > STALE_SECONDS, self._jobs))
        for job_id in stale:
            self.take(job_id)


def _size(job: Job) -> int:
    return 0 if job.body is None or job.body.text is None else len(job.body.text)

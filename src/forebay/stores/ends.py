"""How jobs end otherwise than by their own answer, alike in every store."""

from typing import NamedTuple

from forebay.domain.job import Ending, ErrorCode, JobError, Status

CANCELLED_ERROR = JobError(code=ErrorCode.CANCELLED, message="The job was cancelled.")
EXPIRED_ERROR = JobError(code=ErrorCode.EXPIRED, message="The deadline passed before the job was done.")
POISON_ERROR = JobError(
    code=ErrorCode.POISON, message="The worker process died again and again while it ran this job and nothing else."
)
UNKNOWN_ERROR = JobError(
    code=ErrorCode.OUTCOME_UNKNOWN, message="The worker died in mid-call; the call may have been answered and paid for."
)


class End(NamedTuple):
    """A leaf, and how it ends."""

    job_id: str
    status: Status
    error: JobError


def end_of(ending: Ending) -> tuple[Status, JobError]:
    """How a job ends that was asked to."""
    if ending is Ending.EXPIRE:
        return Status.FAILED, EXPIRED_ERROR
    return Status.CANCELLED, CANCELLED_ERROR

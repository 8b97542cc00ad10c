"""Video: OpenAI's Videos as jobs. An ``infer`` job of the endpoint that nothing else asked for is one."""

from enum import StrEnum

from forebay.domain.job import Job, Status

ENDPOINT = "/v1/videos"
VIDEO = "video"  # the kind of the stored record by which a tenant's videos are listed
_JOB, _VIDEO = "job_", "video_"


class VideoStatus(StrEnum):
    """The ``status`` of a video."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


def video_id(job_id: str) -> str:
    """``job_…`` as its video is called."""
    return _VIDEO + job_id.removeprefix(_JOB)


def job_id_of(named: str) -> str:
    """The job of a video; of any other text, an id that no job has."""
    return _JOB + named.removeprefix(_VIDEO) if named.startswith(_VIDEO) else ""


def status_of(job: Job) -> VideoStatus:
    """How the video stands; what was cancelled has failed, for the vendor knows nothing else."""
    match job.status:
        case Status.SUCCEEDED:
            return VideoStatus.COMPLETED
        case Status.FAILED | Status.CANCELLED:
            return VideoStatus.FAILED
        case Status.QUEUED if job.started_at is None:
            return VideoStatus.QUEUED
        case _:
            return VideoStatus.IN_PROGRESS

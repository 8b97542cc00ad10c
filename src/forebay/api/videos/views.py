"""A video as OpenAI's clients read it: made of its job, of what was asked, and of what the vendor said at the end."""

from typing import Any

import msgspec

from forebay.api.answers import FileBody, file_of
from forebay.api.context import Api, Caller
from forebay.domain.errors import NotFound
from forebay.domain.job import ErrorCode, Job, Status
from forebay.domain.query import Parts
from forebay.domain.record import Record
from forebay.domain.video import ENDPOINT, VIDEO, VideoStatus, job_id_of, status_of, video_id
from forebay.engine.intake import INFER, load_text
from forebay.policy.job_events import standing_elsewhere

PARTS = Parts(body=True, result=True)
WHOLE_PERCENT = 100


class VideoError(msgspec.Struct, kw_only=True):
    """Why there is no video."""

    code: str
    message: str


class VideoView(msgspec.Struct, kw_only=True):
    """OpenAI's Video. ``seconds`` and ``size`` are null until somebody has said them."""

    id: str
    object: str = VIDEO
    created_at: int
    completed_at: int | None = None
    expires_at: int | None = None
    error: VideoError | None = None
    model: str | None = None
    progress: int = 0
    prompt: str | None = None
    remixed_from_video_id: str | None = None
    seconds: str | None = None
    size: str | None = None
    status: VideoStatus


class _Asked(msgspec.Struct):
    """What is read of the request, and of the vendor's video at the end. All may be of any type: it is the client's."""

    prompt: Any = None
    seconds: Any = None
    size: Any = None
    model: Any = None


class Found(Record, frozen=True, kw_only=True):
    """A video's job, with what was asked and the file, once there is one."""

    job: Job
    asked: _Asked
    file: FileBody | None = None


_ASKED = msgspec.json.Decoder(_Asked)


def no_video(named: str) -> NotFound:
    """The refusal of an id that stands for nothing (of this tenant, or any more)."""
    return NotFound(f"Video with id {named!r} not found.", param="id")


async def find_video(named: str, api: Api, caller: Caller) -> Found:
    """Reads a video. Raises: NotFound: there is none, or it was deleted."""
    job = await api.reader.get(caller.tenant, job_id_of(named), PARTS)
    if job is None or not is_video(job):
        raise no_video(named)
    return await found_of(job, api)


def is_video(job: Job) -> bool:
    """Whether the job is a video by itself, and not erased."""
    return job.kind == INFER and job.spec.endpoint == ENDPOINT and not job.parent_id and job.body is not None


async def found_of(job: Job, api: Api) -> Found:
    """Decodes what the job was read with."""
    blobs = api.services.blobs
    asked = _Asked() if job.body is None else _read(await load_text(job.body, blobs))
    file = None
    if job.status is Status.SUCCEEDED and job.result is not None:
        file = file_of(await load_text(job.result.body, blobs))
    return Found(job=job, asked=asked, file=file)


def view_of(found: Found, kept_seconds: float) -> VideoView:
    """The video as it stands. ``kept_seconds``: how long it is kept after its end."""
    job, status = found.job, status_of(found.job)
    said = _said(found)
    ended_at = None if job.finished_at is None else int(job.finished_at)
    return VideoView(
        id=video_id(job.id),
        created_at=int(job.created_at),
        completed_at=ended_at if status is VideoStatus.COMPLETED else None,
        expires_at=int(job.finished_at + kept_seconds) if job.finished_at and found.file else None,
        error=_error(job) if status is VideoStatus.FAILED else None,
        model=_text(said.model) or job.spec.model,
        progress=WHOLE_PERCENT if status is VideoStatus.COMPLETED else _progress(job),
        prompt=_text(found.asked.prompt),
        seconds=_text(said.seconds) or _text(found.asked.seconds),
        size=_text(said.size) or _text(found.asked.size),
        status=status,
    )


def _said(found: Found) -> _Asked:
    """What the vendor says of the video that is there."""
    details = b"" if found.file is None else bytes(found.file.details)
    return _read(details) if details else _Asked()


def _progress(job: Job) -> int:
    standing = standing_elsewhere(job)
    return standing.succeeded if standing else 0


def _error(job: Job) -> VideoError:
    if job.error is None:
        return VideoError(code=ErrorCode.CANCELLED, message="It was cancelled")
    return VideoError(code=job.error.code, message=job.error.message)


def _read(text: str | bytes) -> _Asked:
    try:
        return _ASKED.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _Asked()


def _text(value: Any) -> str | None:
    """A member that should be text; a form has numbers as text, and JSON may have them as they are."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

"""What is kept of a target's answer: JSON as it came, anything else as a file."""

from typing import Any

import msgspec

from forebay.domain.content import INLINE_LIMIT_BYTES, Content
from forebay.domain.errors import TargetError
from forebay.domain.file import FILE, FileData, encoded
from forebay.domain.inference import InferenceResult
from forebay.domain.job import Job, Result
from forebay.domain.stored import StoredRecord
from forebay.engine.intake import store_bytes, store_text
from forebay.engine.services import Services

REFUSAL_LIMIT_CHARACTERS = 16_384
EXTENSIONS = {
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/aac": "aac",
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "application/zip": "zip",
    "text/plain": "txt",
}


def inline_result(answer: InferenceResult) -> Result | None:
    """Keeps a 2xx answer that is JSON and stands in its row; None: ``result_of`` has more to do."""
    if answer.file is not None or answer.files or "json" not in answer.content_type:
        return None
    if len(answer.body) > INLINE_LIMIT_BYTES:
        return None
    content = Content(text=answer.body.decode())
    return Result(status_code=answer.status_code, body=content, request_id=answer.request_id)


async def result_of(answer: InferenceResult, job: Job, services: Services) -> Result:
    """Keeps a 2xx answer: JSON verbatim but for its files' ids, another type as a file that the body names."""
    if answer.file is None and "json" in answer.content_type:
        text = answer.body.decode()
        for file in answer.files:
            blob = await store_bytes(file.content, services.blobs)
            text = text.replace(file.mark, await _filed(blob, file.content_type, file.filename, job, services))
        body = await store_text(text, services.blobs)
    else:
        body = await _as_file(answer, job, services)
    return Result(status_code=answer.status_code, body=body, request_id=answer.request_id)


async def own_result(document: Any, services: Services) -> Result:
    """What a group answers itself, as JSON: no model said it."""
    text = msgspec.json.encode(document).decode()
    return Result(status_code=None, body=await store_text(text, services.blobs))


async def refusal(error: TargetError, services: Services) -> Result | None:
    """Keeps what a target said as it refused; text that is not JSON becomes a JSON string."""
    if error.body is None:
        return None
    try:
        text = error.body.decode()
        msgspec.json.decode(text)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        shown = error.body.decode(errors="replace")[:REFUSAL_LIMIT_CHARACTERS]
        text = msgspec.json.encode(shown).decode()
    return Result(status_code=error.status_code, body=await store_text(text, services.blobs))


async def _as_file(answer: InferenceResult, job: Job, services: Services) -> Content:
    if answer.file is not None:
        blob = Content(blob_id=answer.file.id, bytes=answer.file.bytes)
    else:
        blob = await store_bytes(answer.body, services.blobs)
    media_type = answer.content_type.partition(";")[0].strip() or "application/octet-stream"
    file_id = await _filed(blob, media_type, "", job, services)
    view: dict[str, Any] = {"object": "file", "file_id": file_id, "content_type": media_type, "bytes": blob.bytes}
    if answer.file is not None and answer.body:
        view["details"] = msgspec.Raw(answer.body)
    return Content(text=msgspec.json.encode(view).decode())


async def _filed(blob: Content, media_type: str, name: str, job: Job, services: Services) -> str:
    """Makes a file of what a job's answer has. Returns its id."""
    file_id = services.ids.new("file")
    data = FileData(
        filename=name or f"{job.id}.{EXTENSIONS.get(media_type, 'bin')}",
        purpose="user_data",
        bytes=blob.bytes,
        blob_id=blob.blob_id,
        content_type=media_type,
        result_of=job.id,
    )
    now = services.clock.now()
    await services.records.put(
        StoredRecord(
            kind=FILE,
            id=file_id,
            tenant=job.tenant,
            data=encoded(data),
            created_at=now,
            expires_at=now + services.bounds.result_ttl_seconds,
            blobs=(blob.blob_id or "",),
        )
    )
    return file_id

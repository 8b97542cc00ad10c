"""What an awaited call answers with once its job has ended: the model's own words, or why there are none."""

from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from forebay.api.context import Api
from forebay.api.errors import JSON, NO_RETRY, Problem, error_document, is_anthropic
from forebay.api.files.content import media_type
from forebay.domain.content import INLINE_LIMIT_BYTES, Content
from forebay.domain.errors import NotFound
from forebay.domain.job import ErrorCode, Job, Result, Status
from forebay.engine.intake import load_text

JOB_ID = "x-forebay-job-id"
FILE = "file"

# Statuses of failures that no model gave a status to.
_STATUSES: dict[str, int] = {
    ErrorCode.TARGET_REJECTED: 502,
    ErrorCode.TARGET_UNAVAILABLE: 503,
    ErrorCode.TARGET_TIMEOUT: 504,
    ErrorCode.INVALID_OUTPUT: 502,
    ErrorCode.EXPIRED: 504,
    ErrorCode.BUDGET_EXCEEDED: 402,
    "price_unknown": 402,
    ErrorCode.OUTCOME_UNKNOWN: 502,
    ErrorCode.POISON: 500,
    ErrorCode.CANCELLED: 409,
    ErrorCode.STREAM_INTERRUPTED: 502,
    ErrorCode.INVALID_INPUT: 400,
    ErrorCode.INTERNAL: 500,
}
_OTHER_STATUS = 502
_LEAST_ERROR_STATUS = 400


class FileBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of a result that is not JSON. ``details``: what the target said of it, where it said anything."""

    object: str
    file_id: str
    content_type: str
    bytes: int
    details: msgspec.Raw = msgspec.Raw()


class StoredFile(msgspec.Struct, kw_only=True):
    """What we need of a file's record."""

    blob_id: str


_FILE_BODY = msgspec.json.Decoder(FileBody)
_STORED_FILE = msgspec.json.Decoder(StoredFile)


async def answer_of(job: Job, request: Request, api: Api, headers: dict[str, str]) -> Response:
    """The reply to an awaited call whose job has ended; it was read with its result."""
    headers = {JOB_ID: job.id, **headers}
    if job.status is not Status.SUCCEEDED:
        return await _failure(job, request, api, headers)
    if job.result is None:
        raise NotFound(f"The result of job {job.id!r} was erased")
    status = job.result.status_code or 200
    text = await load_text(job.result.body, api.services.blobs)
    if (file := file_of(text)) is not None:
        return await _file(file, job, api, status, headers)
    return Response(text, status_code=status, headers=headers, media_type=JSON)


def problem_of_job(job: Job) -> Problem:
    """Why a job did not succeed, for a client that waits for it."""
    error = job.error
    code = error.code if error else job.status.value
    if job.status is Status.CANCELLED:
        code = ErrorCode.CANCELLED
    message = error.message if error else f"The job was {job.status}"
    given = job.result.status_code if job.result else None
    status = given if given and given >= _LEAST_ERROR_STATUS else _STATUSES.get(code, _OTHER_STATUS)
    return Problem(status=status, message=message, code=code)


async def failure_document(job: Job, request: Request, api: Api) -> bytes:
    """The model's own error if it is one that this client can read, else ours."""
    if job.result is not None and (given := await _given_error(job.result, request, api)):
        return given
    return error_document(problem_of_job(job), request)


def file_of(text: str) -> FileBody | None:
    """The file that a result's body stands for, if it does."""
    if '"file_id"' not in text or len(text) > INLINE_LIMIT_BYTES:
        return None
    try:
        body = _FILE_BODY.decode(text)
    except msgspec.DecodeError:
        return None
    return body if body.object == FILE else None


async def _failure(job: Job, request: Request, api: Api, headers: dict[str, str]) -> Response:
    problem = problem_of_job(job)
    document = await failure_document(job, request, api)
    return Response(document, status_code=problem.status, headers={**headers, **NO_RETRY}, media_type=JSON)


async def _given_error(result: Result, request: Request, api: Api) -> bytes | None:
    if result.status_code is None or result.status_code < _LEAST_ERROR_STATUS:
        return None
    text = await load_text(result.body, api.services.blobs)
    try:
        given = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    if not isinstance(given, dict) or "error" not in given:
        return None
    if is_anthropic(request) and given.get("type") != "error":
        return None
    return text.encode()


async def _file(file: FileBody, job: Job, api: Api, status: int, headers: dict[str, str]) -> Response:
    services = api.services
    record = await services.records.get(job.tenant, FILE, file.file_id)
    if record is None:
        raise NotFound(f"The file {file.file_id!r} of job {job.id!r} is gone")
    blob_id = _STORED_FILE.decode(record.data).blob_id
    headers["content-length"] = str(await services.blobs.size(blob_id))
    return StreamingResponse(
        _bytes(Content(blob_id=blob_id), api),
        status_code=status,
        headers=headers,
        media_type=media_type(file.content_type),
    )


async def _bytes(content: Content, api: Api) -> AsyncIterator[bytes]:
    async for chunk in api.services.blobs.read(content.blob_id or ""):
        yield chunk

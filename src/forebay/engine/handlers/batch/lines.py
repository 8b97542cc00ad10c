"""The lines that a batch's files are made of, in OpenAI's shape."""

import msgspec

from forebay.domain.attempt import Attempt, Usage
from forebay.domain.batch import BatchArgs
from forebay.domain.errors import NotFound
from forebay.domain.infer_args import InferArgs, with_args
from forebay.domain.job import Ending, ErrorCode, Job, JobError, Result, Status
from forebay.engine.intake import load_text
from forebay.ports import BlobStore

CUSTOM_ID = "custom_id"  # where a line's job keeps it: in its metadata
KEY_DIGITS = 10
_FIRST_ERROR_STATUS = 400
_ENDINGS = {
    Ending.CANCEL: JobError(code="batch_cancelled", message="The batch was cancelled before this request was done."),
    Ending.EXPIRE: JobError(code="batch_expired", message="The batch expired before this request was done."),
}
_ERASED = JobError(code="erased", message="Erased on request.")
_NULL = msgspec.Raw(b"null")
_ENCODER = msgspec.json.Encoder()


class _Response(msgspec.Struct, gc=False):
    status_code: int | None
    request_id: str
    body: msgspec.Raw


class _OutputLine(msgspec.Struct, gc=False):
    id: str
    custom_id: str
    response: _Response | None
    error: JobError | None


class _LedgerLine(msgspec.Struct, gc=False):
    line: int
    custom_id: str
    job_id: str
    usage: Usage | None
    cost_usd: float | None
    attempts: tuple[Attempt, ...]


def line_key(number: int) -> str:
    """The key of a line's job: keys sort as lines do."""
    return f"{number:0{KEY_DIGITS}d}"


async def output_line(job: Job, blobs: BlobStore) -> bytes:
    """The line of a finished job, read with its result: a good answer, a refusal, or why there is none."""
    error = None if job.status is Status.SUCCEEDED else _error(job)
    is_overtaken = error is not None and error in _ENDINGS.values()
    response = None if job.result is None or is_overtaken else await _response(job, job.result, blobs)
    if response is not None and (response.status_code or 0) >= _FIRST_ERROR_STATUS:
        error = None  # the answer says it
    return _encoded(f"batch_req_{_suffix(job.id)}", job.spec.metadata.get(CUSTOM_ID, ""), response, error)


def unsent_line(line_id: str, custom_id: str, error: JobError) -> bytes:
    """The line of a request that was never made into a job."""
    return _encoded(line_id, custom_id, None, error)


def with_erased(job: Job, line: bytes) -> bytes:
    """The line, or where it is this job's what stands in its place: as long as it was, so that no other line moves."""
    line_id, custom_id = f"batch_req_{_suffix(job.id)}", job.spec.metadata.get(CUSTOM_ID, "")
    if not line.startswith(f'{{"id":"{line_id}",'.encode()):
        return line
    erased = _encoded(line_id, custom_id, None, _ERASED)
    if len(erased) > len(line):  # an error with fewer words than this one
        erased = _encoded(line_id, custom_id, None, None)
    return erased[:-1].ljust(len(line) - 1) + b"\n"


def ledger_line(job: Job) -> bytes:
    """The attempts of a line whose job goes, without what targets said: that may quote the prompt, and the ledger
    outlives an erasure. Read with its attempts.
    """
    line = _LedgerLine(
        line=int(job.key),
        custom_id=job.spec.metadata.get(CUSTOM_ID, ""),
        job_id=job.id,
        usage=job.usage,
        cost_usd=job.cost_usd,
        attempts=tuple(msgspec.structs.replace(one, error=None) for one in job.attempts),
    )
    return _ENCODER.encode(line) + b"\n"


def ending_error(ending: Ending) -> JobError:
    """What the error file says of a request that the batch's end overtook."""
    return _ENDINGS[ending]


def child_args(args: BatchArgs) -> str | None:
    """``spec.args`` of every line."""
    return with_args(None, InferArgs(schema=args.schema, passed=args.passed, budgets=args.budgets))


def overtaken_by(job: Job) -> Ending | None:
    """How the batch's end overtook a dead line, if it did."""
    if job.status is Status.CANCELLED:
        return Ending.CANCEL
    return Ending.EXPIRE if job.error is not None and job.error.code == ErrorCode.EXPIRED else None


def _error(job: Job) -> JobError:
    if ending := overtaken_by(job):
        return _ENDINGS[ending]
    return job.error or JobError(code=ErrorCode.INTERNAL, message="The request failed without a reason")


async def _response(job: Job, result: Result, blobs: BlobStore) -> _Response:
    try:
        text = await load_text(result.body, blobs)
    except NotFound:  # erased
        text = ""
    # A line is one line: newlines stand in JSON only as white space between its tokens.
    body = msgspec.Raw(text.replace("\r", " ").replace("\n", " ").encode()) if text else _NULL
    request_id = result.request_id or f"req_{_suffix(job.id)}"
    return _Response(status_code=result.status_code, request_id=request_id, body=body)


def _encoded(line_id: str, custom_id: str, response: _Response | None, error: JobError | None) -> bytes:
    return _ENCODER.encode(_OutputLine(line_id, custom_id, response, error)) + b"\n"


def _suffix(job_id: str) -> str:
    return job_id.partition("_")[2]

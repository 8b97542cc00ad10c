"""The job view: what every wire of ours says of a job. Every key is always present."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from forebay.domain.attempt import Attempt, Outcome, Usage
from forebay.domain.errors import NotFound
from forebay.domain.fanout import FANOUT, Document, join_deadline
from forebay.domain.job import Job, JobError, Result, Status
from forebay.engine.intake import load_text
from forebay.ports import BlobStore

_NULL = msgspec.Raw(b"null")


class UsageView(msgspec.Struct, kw_only=True):
    """Tokens of a call, or of all calls of a job."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    total_tokens: int


class ErrorView(msgspec.Struct, kw_only=True):
    """Why a job did not succeed, or why its last try did not."""

    code: str
    message: str


class ResultView(msgspec.Struct, kw_only=True):
    """The model's answer as it came; what is not JSON is a file, named by ``file_id``."""

    status_code: int | None
    body: Annotated[msgspec.Raw, Meta(description="Any JSON: the model's own")]
    branches: Annotated[msgspec.Raw, Meta(description="Of a fan-out: its entries by name")] | UnsetType = UNSET


class TryView(msgspec.Struct, kw_only=True):
    """One try of a delivery."""

    number: int
    started_at: float
    finished_at: float | None
    outcome: Outcome
    status_code: int | None
    error: str | None
    retry_at: float | None


class AttemptView(TryView, kw_only=True):
    """One call of a target."""

    target: str
    model: str | None
    usage: UsageView | None
    cost_usd: float | None


class JobSummary(msgspec.Struct, kw_only=True):
    """A job in a list: all but its result and its attempts."""

    id: str
    object: str = "job"
    kind: str
    status: Status
    target: str | None
    model: str | None
    endpoint: str | None
    parent_id: str | None
    priority: int
    metadata: dict[str, str]
    created_at: float
    not_before: float | None
    deadline: float
    started_at: float | None
    finished_at: float | None
    error: ErrorView | None
    usage: UsageView | None
    cost_usd: float | None
    attempt_count: int


class JobView(JobSummary, kw_only=True):
    """A job, whole."""

    result: ResultView | None
    attempts: list[AttemptView]


def summary_of(job: Job) -> JobSummary:
    """The job as a list shows it."""
    return JobSummary(**_common(job))  # type: ignore[arg-type]  # one dict for two structs; its keys are tested


async def view_of(job: Job, blobs: BlobStore) -> JobView:
    """The whole view; the job was read with result and attempts. A large result is loaded."""
    result = None if job.result is None else await _result(job.result, blobs, is_fanout=job.kind == FANOUT)
    attempts = [_attempt(attempt) for attempt in job.attempts]
    return JobView(**_common(job), result=result, attempts=attempts)  # type: ignore[arg-type]  # as above


def shown_target(job: Job) -> str | None:
    """The target that a job names or goes to; on a route, the one that it went to last."""
    if job.spec.target is not None:
        return job.spec.target
    return job.attempts[-1].target if job.attempts else None


def _common(job: Job) -> dict[str, object]:
    spec = job.spec
    return {
        "id": job.id,
        "kind": job.kind,
        "status": job.status,
        "target": shown_target(job),
        "model": spec.model,
        "endpoint": spec.endpoint,
        "parent_id": job.parent_id or None,
        "priority": job.priority,
        "metadata": spec.metadata,
        "created_at": job.created_at,
        "not_before": job.not_before,
        "deadline": join_deadline(job) if job.kind == FANOUT else job.deadline,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "error": None if job.status is Status.SUCCEEDED else error_view(job.error),
        "usage": usage_view(job.usage),
        "cost_usd": job.cost_usd,
        "attempt_count": job.attempt_count,
    }


async def _result(result: Result, blobs: BlobStore, *, is_fanout: bool) -> ResultView:
    try:
        body = msgspec.Raw((await load_text(result.body, blobs)).encode())
    except NotFound:  # erased between the row's reading and the blob's
        return ResultView(status_code=result.status_code, body=_NULL)
    if is_fanout:
        document = msgspec.json.decode(body, type=Document)
        return ResultView(status_code=result.status_code, body=document.body, branches=document.branches)
    return ResultView(status_code=result.status_code, body=body)


def try_view(attempt: Attempt) -> TryView:
    """A try of a delivery: its target, model and cost say nothing."""
    return TryView(
        number=attempt.number,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        outcome=attempt.outcome,
        status_code=attempt.status_code,
        error=attempt.error,
        retry_at=attempt.retry_at,
    )


def _attempt(attempt: Attempt) -> AttemptView:
    return AttemptView(
        **msgspec.structs.asdict(try_view(attempt)),
        target=attempt.target,
        model=attempt.model,
        usage=usage_view(attempt.usage),
        cost_usd=attempt.cost_usd,
    )


def error_view(error: JobError | None) -> ErrorView | None:
    """An error as every view shows it."""
    return None if error is None else ErrorView(code=error.code, message=error.message)


def usage_view(usage: Usage | None) -> UsageView | None:
    """Tokens as every view shows them; unknown is null."""
    if usage is None:
        return None
    return UsageView(
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        total_tokens=usage.total_tokens,
    )

"""The graph's types: the job view of every wire; what is costly to read is resolved only where it is asked for."""

from enum import Enum
from typing import Any

import msgspec
import strawberry

from forebay.api.graphql.operation import Info
from forebay.api.graphql.scalars import Json, Time
from forebay.api.views import JobView, UsageView, summary_of
from forebay.domain.job import Job as StoredJob


@strawberry.enum(description="Where a job stands")
class JobStatus(Enum):
    """Named as every wire writes it: in GraphQL an enum's value is its name."""

    queued = "queued"
    running = "running"
    waiting = "waiting"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


@strawberry.enum(description="How a call ended; unknown: its worker died in it")
class AttemptOutcome(Enum):
    running = "running"
    succeeded = "succeeded"
    rejected = "rejected"
    throttled = "throttled"
    timeout = "timeout"
    unavailable = "unavailable"
    invalid_output = "invalid_output"
    cancelled = "cancelled"
    unknown = "unknown"


@strawberry.enum(description="What is done when a worker died in mid-call: send again, or hold it as a dead letter")
class OnUnknown(Enum):
    retry = "retry"
    hold = "hold"


@strawberry.type(description="Tokens of a call, or of all calls of a job")
class Usage:
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    total_tokens: int


@strawberry.type(description="Why a job did not succeed, or why its last try did not")
class JobError:
    code: str
    message: str


@strawberry.type(description="The model's answer as it came; what is not JSON is a file, named by `file_id`")
class JobResult:
    status_code: int | None
    body: Json


@strawberry.type(description="One call of a target")
class Attempt:
    number: int
    target: str
    model: str | None
    started_at: float
    finished_at: float | None
    outcome: AttemptOutcome
    status_code: int | None
    error: str | None
    retry_at: float | None
    usage: Usage | None
    cost_usd: float | None


async def _read_result(self: "Job", info: Info) -> JobResult | None:
    view = await _whole(self, info)
    return None if view.result is None else JobResult(status_code=view.result.status_code, body=Json(view.result.body))


async def _read_attempts(self: "Job", info: Info) -> list[Attempt]:
    return [Attempt(**_adapted(msgspec.structs.asdict(one))) for one in (await _whole(self, info)).attempts]


async def _whole(job: "Job", info: Info) -> JobView:
    if job.whole is None:
        job.whole = await info.context.view(job.id)
    return job.whole


@strawberry.type(description="The durable unit of work; times are Unix seconds")
class Job:
    id: strawberry.ID
    object: str
    kind: str
    status: JobStatus
    target: str | None
    model: str | None
    endpoint: str | None
    parent_id: strawberry.ID | None
    priority: int
    metadata: Json
    created_at: float
    not_before: float | None
    deadline: float
    started_at: float | None
    finished_at: float | None
    error: JobError | None
    usage: Usage | None
    cost_usd: float | None
    attempt_count: int
    whole: strawberry.Private[JobView | None]

    result: JobResult | None = strawberry.field(resolver=_read_result, description="Null until the job has an answer")
    attempts: list[Attempt] = strawberry.field(resolver=_read_attempts, description="The calls so far, in order")


@strawberry.type(description="A job and its place in the list")
class JobEdge:
    node: Job
    cursor: str


@strawberry.type(description="Where a page stands in its list")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type(description="A page of jobs, newest first")
class JobConnection:
    edges: list[JobEdge]
    page_info: PageInfo


@strawberry.input(description="What POST /v1/jobs takes; null is as good as absent")
class JobInput:
    body: Json = strawberry.field(description="The model's request, an object: passed on as it is")
    target: str | None = strawberry.UNSET
    model: str | None = strawberry.UNSET
    endpoint: str | None = strawberry.UNSET
    priority: int | None = strawberry.field(default=strawberry.UNSET, description="-100 to 100; higher goes first")
    not_before: Time | None = strawberry.UNSET
    deadline: Time | None = strawberry.UNSET
    timeout: Time | None = strawberry.field(default=strawberry.UNSET, description="Of one call: seconds or a duration")
    max_attempts: int | None = strawberry.UNSET
    on_unknown: OnUnknown | None = strawberry.UNSET
    metadata: Json | None = strawberry.field(
        default=strawberry.UNSET, description="At most 16 pairs of texts; keys of 64, values of 512 characters"
    )
    budget_usd: float | None = strawberry.UNSET
    targets: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Several instead of one: each gets the body; `join`: when it ends",
    )
    join: Json | None = strawberry.field(default=strawberry.UNSET, description='"all", "first" or {successes: 2}')
    notify: Json | None = strawberry.field(
        default=strawberry.UNSET, description="Where its end is told: `{webhook, include, events}`, as on REST"
    )
    idempotency_key: str | None = strawberry.field(
        default=strawberry.UNSET, description="A repeat under the same key gives the same job; the same as on REST"
    )


def job_node(job: StoredJob, whole: JobView | None = None) -> Job:
    """The graph's node of a stored job; what ``whole`` lacks is read when it is asked for."""
    fields = msgspec.structs.asdict(summary_of(job))
    return Job(**_adapted(fields), whole=whole)


def given(request: JobInput) -> dict[str, Any]:
    """The body of POST /v1/jobs that says the same."""
    values = {
        name: getattr(request, name)
        for name in JobInput.__annotations__
        if getattr(request, name) is not strawberry.UNSET
    }
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def _adapted(fields: dict[str, Any]) -> dict[str, Any]:
    """A view's plain fields, with the graph's types inside."""
    usage, error = fields.pop("usage"), fields.get("error")
    if "error" in fields and not isinstance(error, str | None):
        fields["error"] = JobError(**msgspec.structs.asdict(error))
    return {**fields, "usage": None if usage is None else _usage(usage)}


def _usage(usage: UsageView) -> Usage:
    return Usage(**msgspec.structs.asdict(usage))

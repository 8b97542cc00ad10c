"""The body of ``POST /v1/jobs`` and the Order that it becomes."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from forebay.api.bodies import decode
from forebay.api.idempotency import Identity
from forebay.api.times import read_duration, read_time
from forebay.domain.errors import NotSupported, RequestError
from forebay.domain.fanout import MOST_BRANCHES, Branch, FanoutArgs
from forebay.domain.job import OnUnknown
from forebay.domain.order import Order
from forebay.domain.webhook import Include, JobWebhook
from forebay.policy.branching import several
from forebay.policy.json_text import DEEPEST, is_too_deep

LONGEST_TIMEOUT_SECONDS = 86_400.0
MOST_ATTEMPTS = 1000
MOST_METADATA = 16  # pairs, with these lengths. Source: OpenAI's `metadata`
LONGEST_METADATA_KEY = 64
LONGEST_METADATA_VALUE = 512

NOT_YET = {
    "data_class": "placement by data class",  # to accept it would send what must not leave the house
}

JOB_EVENTS = ["job.succeeded", "job.failed", "job.cancelled", "job.*", "*"]
NO_NUL = r"^[^\x00]*$"  # PostgreSQL keeps no NUL in a text
Name = Annotated[str, Meta(min_length=1, max_length=512, pattern=NO_NUL)]
_DURATION = r"(\d+(\.\d+)?(ms|s|m|h|d|w))+"
_MOMENT = r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)"
_TIMES = {"pattern": f"^({_DURATION}|{_MOMENT})$", "examples": ["15m", "2026-11-21T08:00:00Z"]}
_DURATIONS = {"pattern": f"^{_DURATION}$", "examples": ["90s", "15m"]}
Time = Annotated[float | str, Meta(description="Unix seconds, RFC 3339, or a duration", extra_json_schema=_TIMES)]
Duration = Annotated[float | str, Meta(description="Seconds, or a duration", extra_json_schema=_DURATIONS)]
Metadata = Annotated[dict[str, str], Meta(description="At most 16 pairs; keys of 64, values of 512 characters")]


class Notify(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where a job's end is told: signed with the tenant's secret (`forebay keys webhook-secret`)."""

    webhook: Annotated[str, Meta(min_length=1, max_length=2048, description="https, or http")]
    include: Include | None = None
    events: Annotated[list[Annotated[str, Meta(extra_json_schema={"enum": JOB_EVENTS})]], Meta(min_length=1)] | None = (
        None
    )


class Successes(msgspec.Struct, forbid_unknown_fields=True):
    """So many branches of a fan-out must succeed."""

    successes: Annotated[int, Meta(ge=1, le=MOST_BRANCHES)]


class JobRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What ``POST /v1/jobs`` takes; null is as good as absent."""

    body: Annotated[msgspec.Raw, Meta(description="Passed on verbatim", extra_json_schema={"type": "object"})]
    target: Name | None = None
    model: Name | None = None
    endpoint: Name | None = None
    priority: Annotated[int, Meta(ge=-100, le=100)] | None = None
    not_before: Time | None = None
    deadline: Time | None = None
    timeout: Duration | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=MOST_ATTEMPTS)] | None = None
    on_unknown: OnUnknown | None = None
    metadata: Metadata | None = None
    budget_usd: Annotated[float, Meta(ge=0)] | None = None
    idempotency_key: str | None = None
    targets: Annotated[list[Name], Meta(min_length=1, max_length=MOST_BRANCHES)] | None = None
    join: Literal["all", "first"] | Successes | None = None
    notify: Notify | None = None
    data_class: Any = None


class BodyHead(msgspec.Struct):
    """What we read of a model's request; all else is the target's affair."""

    model: Any = None
    stream: Any = None


FIELDS = tuple(field.name for field in msgspec.structs.fields(JobRequest))
_REQUEST = msgspec.json.Decoder(JobRequest)
_HEAD = msgspec.json.Decoder(BodyHead)


def parse_request(data: bytes) -> JobRequest:
    """Parses and bounds one request. Raises: RequestError, NotSupported."""
    request = decode(_REQUEST, data, known=FIELDS)
    for name, feature in NOT_YET.items():
        if getattr(request, name) is not None:
            raise NotSupported(f"{name!r} is not supported yet ({feature})", param=name, code="not_supported")
    check_metadata(request.metadata, most=None)  # how many is a setting: `make_job` looks
    return request


def parse_head(body: bytes, param: str | None = "body") -> BodyHead:
    """Reads model and stream of a model's request, which must be an object. Raises: RequestError."""
    if not body.lstrip().startswith(b"{"):
        raise RequestError("The model's request must be a JSON object", param=param)
    head = decode(_HEAD, body)
    if head.model is not None and not (isinstance(head.model, str) and head.model and "\0" not in head.model):
        raise RequestError("`model` must be a string that is not empty", param=f"{param}.model" if param else "model")
    if is_too_deep(body):
        raise RequestError(f"The body is nested deeper than {DEEPEST}", param=param, code="invalid_json")
    return head


def order_of(request: JobRequest, identity: Identity, now: float, *, hops: int = 0) -> Order:
    """The order that a request makes; ``hops``: of its header. Raises: RequestError."""
    body = bytes(request.body)
    head = parse_head(body)
    not_before = (
        read_time(request.not_before, start=now, param="not_before") if request.not_before is not None else None
    )
    start = not_before or now
    deadline = read_time(request.deadline, start=start, param="deadline") if request.deadline is not None else None
    if deadline is not None and not_before is not None and deadline <= not_before:
        raise RequestError("deadline: it must be later than not_before", param="deadline")
    timeout = request.timeout
    return Order(
        body=body.decode(),
        target=request.target,
        model=request.model or head.model,
        endpoint=request.endpoint,
        priority=request.priority or 0,
        not_before=not_before,
        deadline=deadline,
        timeout_seconds=None
        if timeout is None
        else read_duration(timeout, longest_seconds=LONGEST_TIMEOUT_SECONDS, param="timeout"),
        max_attempts=5 if request.max_attempts is None else request.max_attempts,
        on_unknown=request.on_unknown or OnUnknown.RETRY,
        budget_usd=request.budget_usd,
        metadata=request.metadata or {},
        is_stream=head.stream is True,
        key=identity.key,
        fingerprint=identity.fingerprint,
        origin=identity.origin,
        notify=_webhook(request.notify),
        hops=hops,
        fanout=_fanout(request, is_stream=head.stream is True),
    )


def _fanout(request: JobRequest, *, is_stream: bool) -> FanoutArgs | None:
    """To whom the request goes at once: each entry is a target, or a target and its model, as in a route."""
    if request.targets is None:
        if request.join is not None:
            raise RequestError("`join` says when several `targets` are done: name them", param="join")
        return None
    if request.target is not None:
        raise RequestError("Name one `target` or several `targets`, not both", param="targets")
    if is_stream:
        message = "A fan-out has no stream: leave out `body.stream`"
        raise RequestError(message, param="body.stream", code="streaming_unsupported")
    shared = Branch(
        name="",
        model=request.model,
        endpoint=request.endpoint,
        timeout_seconds=None
        if request.timeout is None
        else read_duration(request.timeout, longest_seconds=LONGEST_TIMEOUT_SECONDS, param="timeout"),
        max_attempts=5 if request.max_attempts is None else request.max_attempts,
        on_unknown=request.on_unknown or OnUnknown.RETRY,
        metadata=request.metadata or {},
    )
    successes = request.join.successes if isinstance(request.join, Successes) else None
    return several(request.targets, shared, 1 if request.join == "first" else successes)


def _webhook(notify: Notify | None) -> JobWebhook | None:
    if notify is None:
        return None
    events = notify.events or []
    for event in events:
        if event not in JOB_EVENTS:
            message = f"notify.events: {event!r} is none of {', '.join(JOB_EVENTS)}"
            raise RequestError(message, param="notify.events")
    return JobWebhook(url=notify.webhook, include=notify.include or Include.ID, events=tuple(dict.fromkeys(events)))


def check_metadata(metadata: dict[str, str] | None, *, most: int | None = MOST_METADATA) -> None:
    """Raises: RequestError: too many pairs, too long ones, or a NUL in one."""
    if not metadata:
        return
    if most is not None and len(metadata) > most:
        raise RequestError(f"metadata: at most {most} pairs, not {len(metadata)}", param="metadata")
    for key, value in metadata.items():
        if len(key) > LONGEST_METADATA_KEY:
            raise RequestError(f"metadata: a key has at most {LONGEST_METADATA_KEY} characters", param="metadata")
        if len(value) > LONGEST_METADATA_VALUE:
            message = f"metadata.{key}: a value has at most {LONGEST_METADATA_VALUE} characters"
            raise RequestError(message, param=f"metadata.{key}")
        if "\0" in key or "\0" in value:
            raise RequestError("metadata: a text has no NUL character", param="metadata")

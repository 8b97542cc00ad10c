"""What each path takes and gives, for ``/openapi.json``. The routes themselves stand beside their handlers."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from forebay.api.description.agents import AGENT_OPERATIONS
from forebay.api.description.anthropic import ANTHROPIC_OPERATIONS
from forebay.api.description.events import EVENT_OPERATIONS
from forebay.api.description.files import FILE_OPERATIONS
from forebay.api.description.graphql import GRAPHQL_OPERATIONS
from forebay.api.description.keys import KEY_OPERATIONS
from forebay.api.description.operation import (
    AFTER,
    EVENTS,
    HOPS,
    ID,
    KEY,
    NDJSON,
    PREFER,
    STRING,
    TEXT,
    Operation,
    Parameter,
    limit,
    query,
)
from forebay.api.description.pipelines import PIPELINE_OPERATIONS
from forebay.api.description.responses import RESPONSE_OPERATIONS
from forebay.api.description.schedules import SCHEDULE_OPERATIONS
from forebay.api.description.videos import VIDEO_OPERATIONS
from forebay.api.description.webhooks import WEBHOOK_OPERATIONS
from forebay.api.errors import ErrorEnvelope
from forebay.api.inference import MODEL_PATHS
from forebay.api.jobs.bulk import Accepted, Refused
from forebay.api.jobs.dead_letters import RetriedList, RetryRequest
from forebay.api.jobs.events import EndView, EventView
from forebay.api.jobs.requests import JobRequest
from forebay.api.models import ModelList, ModelView
from forebay.api.targets import TargetList
from forebay.api.views import JobList, JobView
from forebay.domain.job import Status
from forebay.domain.response import ENDPOINT
from forebay.policy.form_fields import FILE_ENDPOINTS


class Deleted(msgspec.Struct, kw_only=True):
    """The reply to an erased job."""

    id: str
    object: str = "job"
    deleted: bool = True


class Health(msgspec.Struct, kw_only=True):
    """How the server is."""

    status: str
    reason: str | None = None


class ModelRequest(msgspec.Struct, kw_only=True):
    """A model's request: passed on verbatim, whatever else it has."""

    model: Annotated[str, Meta(min_length=1)]
    stream: bool = False


_WAIT = query("wait", {"type": "number", "minimum": 0, "maximum": 60}, "Seconds to wait until the job has ended")
_LAST_EVENT = Parameter(
    name="Last-Event-ID",
    place="header",
    schema={"type": "string", "pattern": "^[0-9]{1,20}$"},
    description="The `id` of the last event that was had: what came after it is told",
)
_LIMIT = limit(1000, 20)
_PARENT = query("parent_id", STRING, "A group's children instead of top-level jobs")
_TARGET = query("target", STRING, "Only of this target")
_MODEL = query("model", STRING, "Only of this model")
_TIME: Mapping[str, Any] = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "format": "date-time"}]}
_TIMES = "Unix seconds or RFC 3339"
_STATUSES: Mapping[str, Any] = {"type": "array", "items": {"enum": list(Status)}, "minItems": 1}
_JOB_FILTERS = (
    query("status", _STATUSES, "One status or several, separated by commas"),
    query("kind", STRING, "One kind or several, separated by commas"),
    _TARGET,
    _MODEL,
    _PARENT,
    query("created_after", _TIME, _TIMES),
    query("created_before", _TIME, _TIMES),
    Parameter(
        name="metadata",
        place="query",
        schema={"type": "object", "additionalProperties": {"type": "string"}},
        description="`metadata[key]=value`",
    ),
    _LIMIT,
    AFTER,
)

_JOBS = (
    Operation(
        method="post",
        path="/v1/jobs",
        summary="Submit a job; 202 after it is durable",
        tag="jobs",
        request=JobRequest,
        answer=JobView,
        status=202,
        parameters=(KEY, HOPS),
        refusals=(400, 404, 409, 413, 503),
    ),
    Operation(
        method="get",
        path="/v1/jobs",
        summary="List jobs, newest first",
        tag="jobs",
        answer=JobList,
        parameters=_JOB_FILTERS,
        refusals=(400,),
    ),
    Operation(
        method="post",
        path="/v1/jobs/bulk",
        summary="Submit many jobs, one a line; a bad line refuses only itself",
        tag="jobs",
        request=JobRequest,
        media_type=NDJSON,
        answer=(Accepted, Refused),
        answer_type=NDJSON,
        parameters=(KEY, HOPS),
        refusals=(400, 503),
    ),
    Operation(
        method="get",
        path="/v1/jobs/{id}",
        summary="Read a job, at once or when it has ended",
        tag="jobs",
        answer=JobView,
        parameters=(ID, _WAIT),
        refusals=(400, 404),
    ),
    Operation(
        method="delete",
        path="/v1/jobs/{id}",
        summary="Erase an ended job's bodies and results",
        tag="jobs",
        answer=Deleted,
        parameters=(ID,),
        refusals=(404, 409),
    ),
    Operation(
        method="get",
        path="/v1/jobs/{id}/events",
        summary="Follow what happens to a job, by server-sent events; 204 where the last one was had",
        tag="jobs",
        answer=(EventView, EndView),
        answer_type=EVENTS,
        parameters=(ID, _LAST_EVENT),
        refusals=(204, 400, 404),
    ),
    Operation(
        method="post",
        path="/v1/jobs/{id}/cancel",
        summary="Ask a job to end",
        tag="jobs",
        answer=JobView,
        parameters=(ID,),
        refusals=(404,),
    ),
    Operation(
        method="post",
        path="/v1/jobs/{id}/retry",
        summary="Queue a dead job again",
        tag="jobs",
        answer=JobView,
        parameters=(ID,),
        refusals=(404, 409),
    ),
)

_DEAD_LETTERS = (
    Operation(
        method="get",
        path="/v1/dead-letters",
        summary="List failed jobs, newest first",
        tag="dead letters",
        answer=JobList,
        parameters=(
            _PARENT,
            _TARGET,
            _MODEL,
            query("code", STRING, "Only with this error code"),
            _LIMIT,
            AFTER,
        ),
        refusals=(400,),
    ),
    Operation(
        method="post",
        path="/v1/dead-letters/retry",
        summary="Queue failed jobs again",
        tag="dead letters",
        request=RetryRequest,
        answer=RetriedList,
        refusals=(400,),
    ),
)

_OTHERS = (
    Operation(method="get", path="/v1/targets", summary="List targets", tag="targets", answer=TargetList),
    Operation(method="get", path="/v1/models", summary="List models and routes", tag="models", answer=ModelList),
    Operation(
        method="get",
        path="/v1/models/{id}",
        summary="Read a model",
        tag="models",
        answer=ModelView,
        parameters=(ID,),
        refusals=(404,),
    ),
    Operation(method="get", path="/metrics", summary="Prometheus", tag="service", answer=bytes, answer_type=TEXT),
    Operation(method="get", path="/livez", summary="Is the process alive", tag="service", answer=Health),
    Operation(method="get", path="/readyz", summary="Can it take work", tag="service", answer=Health, refusals=(503,)),
)

_MODEL_ENDPOINTS = tuple(
    Operation(
        method="post",
        path=path,
        summary="Queue a model's request and wait for its answer",
        tag="model endpoints",
        request=ModelRequest,
        answer=bytes,
        parameters=(KEY, PREFER, HOPS),
        refusals=(202, 400, 404, 409, 413, 502, 503, 504),
        is_form_too=path in FILE_ENDPOINTS,
    )
    for path in MODEL_PATHS
    if path != ENDPOINT
)

OPERATIONS = (
    _JOBS
    + EVENT_OPERATIONS
    + PIPELINE_OPERATIONS
    + SCHEDULE_OPERATIONS
    + GRAPHQL_OPERATIONS
    + FILE_OPERATIONS
    + ANTHROPIC_OPERATIONS
    + _DEAD_LETTERS
    + KEY_OPERATIONS
    + WEBHOOK_OPERATIONS
    + AGENT_OPERATIONS
    + _OTHERS
    + _MODEL_ENDPOINTS
    + RESPONSE_OPERATIONS
    + VIDEO_OPERATIONS
)
ERRORS = ErrorEnvelope

"""What pipelines and runs take and give, for ``/openapi.json``."""

from forebay.api.description.operation import AFTER, HOPS, KEY, STRING, Operation, Parameter, limit, query
from forebay.api.pipelines.routes import PARQUET, ResumeRequest, RunRequest
from forebay.api.pipelines.views import PipelineList, RunList
from forebay.domain.job import Status
from forebay.engine.run_views import RunView

_TAG = "pipelines"
_NAME = Parameter(name="name", place="path", schema=STRING, description="The pipeline's name")
_ID = Parameter(name="id", place="path", schema=STRING, description="The run's id")
_STEP = Parameter(name="step", place="path", schema=STRING, description="The step's name")
_STREAM = Parameter(
    name="stream", place="path", schema={"type": "string", "enum": ["table", "rejected"]}, description="What to fetch"
)
_FILTERS = (
    query("pipeline", STRING, "Runs of this pipeline alone"),
    query("status", {"type": "string", "enum": list(Status)}, "Several are separated by commas"),
    query("created_after", STRING, "Unix seconds, RFC 3339, or a duration back from now"),
    query("created_before", STRING, "Likewise"),
)

PIPELINE_OPERATIONS = (
    Operation(method="get", path="/v1/pipelines", summary="List pipelines", tag=_TAG, answer=PipelineList),
    Operation(
        method="post",
        path="/v1/pipelines/{name}/runs",
        summary="Begin a run",
        tag=_TAG,
        request=RunRequest,
        answer=RunView,
        status=202,
        parameters=(_NAME, KEY, HOPS),
        refusals=(400, 404, 409, 413, 429, 503),
    ),
    Operation(
        method="get",
        path="/v1/runs",
        summary="List runs, newest first",
        tag=_TAG,
        answer=RunList,
        parameters=(limit(1000, 20), AFTER, *_FILTERS),
        refusals=(400,),
    ),
    Operation(
        method="get",
        path="/v1/runs/{id}",
        summary="Read a run",
        tag=_TAG,
        answer=RunView,
        parameters=(_ID,),
        refusals=(404,),
    ),
    Operation(
        method="post",
        path="/v1/runs/{id}/cancel",
        summary="Cancel a run",
        tag=_TAG,
        answer=RunView,
        parameters=(_ID,),
        refusals=(404, 503),
    ),
    Operation(
        method="post",
        path="/v1/runs/{id}/resume",
        summary="Let a run that failed or was cancelled go on where it stopped",
        tag=_TAG,
        request=ResumeRequest,
        answer=RunView,
        parameters=(_ID,),
        refusals=(400, 404, 409, 413, 503),
    ),
    Operation(
        method="get",
        path="/v1/runs/{id}/steps/{step}/{stream}",
        summary="Fetch a step's table, or its rejected records, as Parquet",
        tag=_TAG,
        answer=bytes,
        answer_type=PARQUET,
        parameters=(_ID, _STEP, _STREAM),
        refusals=(404, 409),
    ),
)

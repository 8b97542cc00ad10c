"""What schedules take and give, for ``/openapi.json``."""

from forebay.api.description.operation import KEY, STRING, Operation, Parameter
from forebay.api.schedules.routes import FireRequest
from forebay.api.schedules.views import ScheduleList, ScheduleView
from forebay.engine.run_views import RunView

_TAG = "schedules"
_NAME = Parameter(name="name", place="path", schema=STRING, description="The schedule's name")

SCHEDULE_OPERATIONS = (
    Operation(method="get", path="/v1/schedules", summary="List schedules", tag=_TAG, answer=ScheduleList),
    Operation(
        method="post",
        path="/v1/schedules/{name}/pause",
        summary="Let a schedule fire nothing until it is resumed",
        tag=_TAG,
        answer=ScheduleView,
        parameters=(_NAME,),
        refusals=(404, 503),
    ),
    Operation(
        method="post",
        path="/v1/schedules/{name}/resume",
        summary="Let a paused schedule go on from now",
        tag=_TAG,
        answer=ScheduleView,
        parameters=(_NAME,),
        refusals=(404, 503),
    ),
    Operation(
        method="post",
        path="/v1/schedules/{name}/run",
        summary="Fire a schedule now, by hand",
        tag=_TAG,
        request=FireRequest,
        answer=RunView,
        status=202,
        parameters=(_NAME, KEY),
        refusals=(400, 404, 409, 413, 429, 503),
    ),
)

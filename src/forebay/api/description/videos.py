"""What the paths of videos take and give, for ``/openapi.json``."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from forebay.api.description.operation import AFTER, HOPS, ID, KEY, Operation, limit, query
from forebay.api.videos.routes import DEFAULT_LIMIT, HIGHEST_LIMIT, VideoDeleted, VideoList
from forebay.api.videos.views import VideoView
from forebay.domain.video import ENDPOINT


class VideoRequest(msgspec.Struct, kw_only=True):
    """A request for a video; its other members are the model's affair."""

    model: Annotated[str, Meta(min_length=1)]
    prompt: str | None = None
    seconds: str | None = None
    size: str | None = None
    input_reference: dict[str, Any] | None = None


_PATH = ENDPOINT + "/{id}"
_TAG = "videos"
_ORDER = query("order", {"enum": ["asc", "desc"], "default": "desc"}, "By time of creation")
_VARIANT = query("variant", {"enum": ["video"]}, "Only the video itself is kept")

VIDEO_OPERATIONS = (
    Operation(
        method="post",
        path=ENDPOINT,
        summary="Ask for a video: it is answered at once as it stands, queued",
        tag=_TAG,
        request=VideoRequest,
        is_form_too=True,
        answer=VideoView,
        parameters=(KEY, HOPS),
        refusals=(400, 404, 409, 413),
    ),
    Operation(
        method="get",
        path=ENDPOINT,
        summary="List videos",
        tag=_TAG,
        answer=VideoList,
        parameters=(limit(HIGHEST_LIMIT, DEFAULT_LIMIT), AFTER, _ORDER),
        refusals=(400,),
    ),
    Operation(
        method="get", path=_PATH, summary="Read a video", tag=_TAG, answer=VideoView, parameters=(ID,), refusals=(404,)
    ),
    Operation(
        method="get",
        path=_PATH + "/content",
        summary="Download a video",
        tag=_TAG,
        answer=bytes,
        parameters=(ID, _VARIANT),
        refusals=(400, 404),
    ),
    Operation(
        method="delete",
        path=_PATH,
        summary="Delete a video; one that is being made is cancelled first",
        tag=_TAG,
        answer=VideoDeleted,
        parameters=(ID,),
        refusals=(404, 409),
    ),
)

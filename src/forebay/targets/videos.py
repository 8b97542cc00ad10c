"""``/v1/videos`` of a model server: a create is answered at once, the video is asked for later, and fetched as a file.

Source: OpenAI's API reference, Videos (November 2026): status ``queued | in_progress | completed | failed``.
"""

import time
from collections.abc import Mapping

import msgspec

from forebay.domain.errors import RemoteFailed, TargetFailed, TargetRejected
from forebay.domain.inference import Call, InferenceResult, Pending
from forebay.domain.record import Record
from forebay.policy.rate_headers import retry_after_seconds
from forebay.targets.endpoint import content_type_of
from forebay.targets.failures import check_status, is_gone, is_lost
from forebay.targets.model_server import CHECK_SECONDS, ModelServer

ENDPOINT = "/v1/videos"
FIRST_POLL_SECONDS, SLOWEST_POLL_SECONDS, POLL_GROWTH = 2.0, 15.0, 1.3
MOST_MISSES = 10  # of a content that is said to be there
_WORKING = frozenset({"queued", "in_progress"})
#: A failure of the server, and not of what was asked of it: another submission may help.
_SERVERS_OWN = frozenset({"server_error", "internal_error", "internal_server_error", "rate_limit_exceeded", "timeout"})


class _Error(msgspec.Struct, gc=False):
    code: str | None = None
    message: str | None = None


class _Video(msgspec.Struct, gc=False):
    """A video of the vendor's, as far as it is read."""

    id: str
    object: str
    status: str
    progress: float | None = None
    error: _Error | None = None


class _State(Record, frozen=True, kw_only=True):
    """What a submission is found by."""

    id: str
    pause_seconds: float
    misses: int = 0


_VIDEO = msgspec.json.Decoder(_Video)
_STATE = msgspec.json.Decoder(_State)


class VideoServer:
    """A model server that makes videos."""

    def __init__(self, server: ModelServer, name: str, api_key: str | None) -> None:
        self._server = server
        self._name = name
        self._api_key = api_key

    async def call(self, call: Call) -> InferenceResult:
        """As ``SlowTarget.call``. A server that answers with the video itself is taken at its word."""
        if call.pending is not None:
            return await self._poll(call, _STATE.decode(call.pending))
        key = {"idempotency-key": call.idempotency_key} if call.idempotency_key else {}
        created = await self._server.call(msgspec.structs.replace(call, headers={**key, **call.headers}), None)
        video = _video_in(created.body)
        if video is None:
            return created
        if video.status not in _WORKING:
            return await self._ended(call, video, created, _State(id=video.id, pause_seconds=FIRST_POLL_SECONDS))
        state = _State(id=video.id, pause_seconds=FIRST_POLL_SECONDS)
        return _later(created, video, state, FIRST_POLL_SECONDS)

    async def withdraw(self, state: str) -> None:
        """Deletes the video; the vendor refuses it for one that is being made."""
        response = await self._server.delete(_path(_STATE.decode(state).id), CHECK_SECONDS)
        if response.status >= 500 or response.status in {408, 429}:
            check_status(response, self._name, self._api_key)

    async def _poll(self, call: Call, state: _State) -> InferenceResult:
        response = await self._server.get(_path(state.id), call)
        if is_lost(response):
            message = f"target {self._name!r} does not know its video {state.id!r} any more"
            raise RemoteFailed(message, status_code=response.status, body=response.body)
        if is_gone(response):
            message = f"target {self._name!r} answered {response.status} in words that are not its API's"
            raise TargetFailed(message, status_code=response.status)
        check_status(response, self._name, self._api_key)
        video = _video_in(response.body)
        if video is None:
            raise TargetFailed(f"target {self._name!r} answered with something that is no video", status_code=200)
        answered = self._server.result_of(response, call)
        if video.status not in _WORKING:
            return await self._ended(call, video, answered, state)
        pause = min(state.pause_seconds * POLL_GROWTH, SLOWEST_POLL_SECONDS)
        return _later(answered, video, msgspec.structs.replace(state, pause_seconds=pause), pause)

    async def _ended(self, call: Call, video: _Video, answered: InferenceResult, state: _State) -> InferenceResult:
        """The video as a file. Raises: RemoteFailed, TargetRejected: there will be none."""
        if video.status != "completed":
            code = video.error.code if video.error else None
            reason = (video.error.message if video.error else None) or "no reason is given"
            message = f"target {self._name!r} made no video ({code or video.status}): {reason}"
            kind = RemoteFailed if code is None or code in _SERVERS_OWN else TargetRejected
            raise kind(message, status_code=200, body=answered.body)
        fetched = await self._server.fetch(_path(state.id) + "/content", call)
        if is_gone(fetched.response) and state.misses < MOST_MISSES:
            missed = msgspec.structs.replace(state, misses=state.misses + 1)
            return _later(answered, video, missed, SLOWEST_POLL_SECONDS)
        if is_gone(fetched.response):
            raise RemoteFailed(f"target {self._name!r} has no content of its video", status_code=200)
        check_status(fetched.response, self._name, self._api_key)
        content_type = content_type_of(fetched.response.headers)
        if fetched.file is None:  # nobody keeps files: then it stands in memory
            return msgspec.structs.replace(answered, body=fetched.response.body, content_type=content_type)
        return msgspec.structs.replace(answered, file=fetched.file, content_type=content_type)


def _path(video_id: str) -> str:
    """Raises: RemoteFailed: the id that the server gave is no part of a path; it must not lead elsewhere."""
    if not video_id or not all(letter.isascii() and (letter.isalnum() or letter in "_-.~") for letter in video_id):
        raise RemoteFailed("the server gave its video an id that can't stand in a path", status_code=200)
    return f"{ENDPOINT}/{video_id}"


def _later(answered: InferenceResult, video: _Video, state: _State, pause_seconds: float) -> InferenceResult:
    told = _asked_pause(answered.headers)
    pending = Pending(
        state=msgspec.json.encode(state).decode(),
        after_seconds=pause_seconds if told is None else told,
        progress=None if video.progress is None else min(max(video.progress / 100, 0.0), 1.0),
    )
    return msgspec.structs.replace(answered, pending=pending)


def _asked_pause(headers: Mapping[str, str]) -> float | None:
    """Source: the official SDK's ``create_and_poll`` obeys ``openai-poll-after-ms``."""
    told = headers.get("openai-poll-after-ms", "")
    return float(told) / 1000 if told.isascii() and told.isdigit() else retry_after_seconds(headers, time.time())


def _video_in(body: bytes) -> _Video | None:
    try:
        video = _VIDEO.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return video if video.object == "video" else None

"""``/v1/videos`` of the mock model: made in as many polls as the options say, so that no test depends on time.

A prompt with ``[[video:CODE]]`` fails with that code. A create that comes again under its ``Idempotency-Key`` finds the
first video.
"""

import re
import zlib
from typing import Any

import msgspec

from forebay.testing.mock_model.answers import CREATED_AT
from forebay.testing.mock_model.options import MockOptions
from forebay.testing.mock_model.request import Request, text_of

MP4 = "video/mp4"
_HEAD = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
_FAILURE = re.compile(r"\[\[video:([a-z_]+)\]\]")
_ITEM = re.compile(r"/videos/([^/]+)(/content)?")


class Answered(msgspec.Struct):
    """A reply: its status, its body and what it is."""

    status: int
    body: bytes
    content_type: str = "application/json"
    name: str = ""  # under which the counters have it
    is_working: bool = False


class Videos:
    """All videos of one mock model, in the order of their making."""

    def __init__(self) -> None:
        self._videos: dict[str, dict[str, Any]] = {}
        self._polls: dict[str, int] = {}
        self._by_key: dict[str, str] = {}

    def create(self, request: Request, body: bytes, key: str | None) -> bytes:
        """The new video, or the one that this key has made."""
        if key is not None and key in self._by_key:
            return msgspec.json.encode(self._videos[self._by_key[key]])
        given: dict[str, Any] = msgspec.json.decode(body)
        video_id = f"video_{len(self._videos):04d}{zlib.crc32(body):08x}"
        video = {
            "id": video_id,
            "object": "video",
            "created_at": CREATED_AT,
            "completed_at": None,
            "expires_at": None,
            "error": None,
            "model": request.model,
            "progress": 0,
            "prompt": text_of(request.prompt),
            "remixed_from_video_id": None,
            "seconds": str(given.get("seconds", "4")),
            "size": given.get("size", "720x1280"),
            "status": "queued",
        }
        if isinstance(given.get("input_reference"), dict):
            video["reference"] = given["input_reference"]
        self._videos[video_id] = video
        if key is not None:
            self._by_key[key] = video_id
        return msgspec.json.encode(video)

    def handle(self, method: str, path: str, options: MockOptions) -> Answered:
        """Answers what is no create."""
        if (method, path) == ("GET", "/videos"):
            listed = list(reversed(self._videos.values()))
            ends = {"first_id": listed[0]["id"], "last_id": listed[-1]["id"]} if listed else {}
            return _answered(200, {"object": "list", "data": listed, "has_more": False, **ends}, "GET /videos")
        match = _ITEM.fullmatch(path)
        video = self._videos.get(match[1]) if match else None
        if match is None or video is None:
            return _answered(404, _error(f"no {method} {path} here"), f"{method} /videos/?")
        if match[2]:
            return self._content(video, options) if method == "GET" else _refused(method)
        match method:
            case "GET":
                answered = _answered(200, self._polled(video, options), "GET /videos/{id}")
                answered.is_working = video["status"] == "in_progress"
                return answered
            case "DELETE":
                del self._videos[video["id"]]
                gone = {"id": video["id"], "object": "video.deleted", "deleted": True}
                return _answered(200, gone, "DELETE /videos/{id}")
        return _refused(method)

    def _polled(self, video: dict[str, Any], options: MockOptions) -> dict[str, Any]:
        """The video, one step further."""
        polls = self._polls[video["id"]] = self._polls.get(video["id"], 0) + 1
        if polls < options.video_polls:
            video |= {"status": "in_progress", "progress": 100 * polls // options.video_polls}
        elif failure := _FAILURE.search(video["prompt"]):
            video |= {"status": "failed", "error": {"code": failure[1], "message": "A failure on demand"}}
        else:
            video |= {"status": "completed", "progress": 100, "completed_at": CREATED_AT + 60}
        return video

    def _content(self, video: dict[str, Any], options: MockOptions) -> Answered:
        name = "GET /videos/{id}/content"
        if video["status"] != "completed":
            return _answered(400, _error("the video is not ready"), name)
        filling = video["id"].encode()
        length = max(options.video_bytes - len(_HEAD), 0)
        body = _HEAD + (filling * (length // len(filling) + 1))[:length]
        return Answered(status=200, body=body, content_type=MP4, name=name)


def _answered(status: int, document: object, name: str) -> Answered:
    return Answered(status=status, body=msgspec.json.encode(document), name=name)


def _refused(method: str) -> Answered:
    return _answered(405, _error(f"no {method} here"), f"{method} /videos/?")


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}

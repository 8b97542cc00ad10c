"""What an A2A agent is sent: a job's body as a SendMessageRequest.

The body is the request itself (``{"message": {"parts": […]}}``), or one of two shorter forms: ``{"text": "…"}``, and
``{"messages": […]}`` as chat models take it. ``configuration`` and ``metadata`` may stand beside each.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from forebay.domain.errors import TargetRejected
from forebay.domain.form import FilePart
from forebay.domain.inference import Call
from forebay.domain.record import Record

CHAT = "messages"
FORMS = ("message", "text", CHAT)
BESIDE = ("configuration", "metadata")
FORMAT = "response_format"  # of a chat: an agent is told in words
FILE = "file_id"
MOST_FILE_BYTES = 32 * 1024 * 1024  # of all files of a message: they stand in it as text
MODEL = "model"  # set where the target lists models; A2A has no place for it
PUSH = "taskPushNotificationConfig"
USER = "ROLE_USER"
_DATA_URL = "data:"
_KINDS: dict[type, str] = {dict: "an object", str: "a text", list: "a list"}
_Value = TypeVar("_Value", bound=dict[str, Any] | list[Any] | str)


class PushConfig(Record, frozen=True, kw_only=True):
    """Where the agent may tell that a task went on, and by which token it shows that it is the agent."""

    url: str
    token: str


async def send_request(call: Call, push: PushConfig | None) -> bytes:
    """The request for a call. Its ``messageId`` is equal for what may be the same submission; one that the body names
    stays.

    Raises: TargetRejected: the body is of none of the forms, or has a member that would not be acted on.
    """
    body = _object(call.body)
    known = [name for name in FORMS if name in body]
    if len(known) != 1:
        raise TargetRejected('an agent takes {"message": {"parts": […]}}, {"text": "…"} or {"messages": […]}')
    beside = (*BESIDE, FORMAT) if known == [CHAT] else BESIDE
    if unknown := [name for name in body if name not in {*known, *beside, MODEL}]:
        raise TargetRejected(
            f"an agent's request has no {unknown[0]!r}; beside {known[0]!r} it has {' and '.join(beside)}"
        )
    configuration: dict[str, Any] = _member(body, "configuration", {})
    if PUSH in configuration:
        raise TargetRejected(f"configuration.{PUSH}: Forebay hears of the task itself; ask for `notify` of the job")
    configuration = {"returnImmediately": True, **configuration}
    if push is not None:
        authentication = {"scheme": "Bearer", "credentials": push.token}
        configuration[PUSH] = {"url": push.url, "token": push.token, "authentication": authentication}
    message = await _with_files(_message(body, known[0], call), call)
    request: dict[str, Any] = {"message": message, "configuration": configuration}
    if "metadata" in body:
        request["metadata"] = _member(body, "metadata", {})
    return msgspec.json.encode(request)


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise TargetRejected(f"an agent's request is a JSON object: {exc}") from exc


def _message(body: Mapping[str, Any], form: str, call: Call) -> dict[str, Any]:
    match form:
        case "message":
            message: dict[str, Any] = _member(body, "message", {})
            if not isinstance(message.get("parts"), list) or not message["parts"]:
                raise TargetRejected("message.parts: a list of one part or more")
        case "text":
            message = {"parts": [{"text": _member(body, "text", "")}]}
        case _:
            message = {"parts": list(_parts_of_chat(_member(body, "messages", [])))}
            if not message["parts"]:
                raise TargetRejected("messages: a list of one message or more")
            if FORMAT in body:
                message["parts"] += _told_form(body[FORMAT])
    return {"messageId": call.idempotency_key or call.job_id, "role": USER, **message}


def _parts_of_chat(messages: list[Any]) -> Iterator[dict[str, Any]]:
    """A message of A2A has one role: who said what stands in the parts' metadata, where not all is the user's."""
    alone = all(isinstance(message, dict) and message.get("role") == "user" for message in messages)
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise TargetRejected(f"messages[{place}]: an object with role and content")
        content = message.get("content")
        pieces = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(pieces, list) or set(message) - {"role", "content", "name"}:
            raise TargetRejected(f"messages[{place}]: a text, or a list of parts, without tools: agents take no more")
        for piece in pieces:
            part = _part_of_chat(piece, f"messages[{place}].content")
            yield part if alone else {**part, "metadata": {"role": message["role"]}}


def _part_of_chat(piece: Any, place: str) -> dict[str, Any]:
    match piece:
        case {"type": "text", "text": str(text)}:
            return {"text": text}
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return _part_of_url(url, place)
        case {"type": "file", "file": {"file_id": str(file_id)}}:
            return {FILE: file_id}
        case _:
            raise TargetRejected(f"{place}: an agent can be sent parts of type text, image_url and file")


def _told_form(form: Any) -> list[dict[str, Any]]:
    """The form that the answer shall have, as a part in words."""
    match form:
        case {"type": "text"}:
            return []
        case {"type": "json_object"}:
            return [{"text": "Answer with a JSON object alone."}]
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            text = msgspec.json.encode(schema).decode()
            return [{"text": f"Answer with JSON alone that fits this JSON schema: {text}"}]
    raise TargetRejected(f"{FORMAT}: text, json_object or json_schema")


async def _with_files(message: dict[str, Any], call: Call) -> dict[str, Any]:
    """The message with the bytes of the files that its parts name. They stand in the call's form in the same order."""
    files = [part for part in call.form or () if isinstance(part, FilePart)]
    named = [place for place, part in enumerate(message["parts"]) if isinstance(part, dict) and FILE in part]
    if len(files) != len(named):
        raise TargetRejected('a file goes to an agent as a part, {"file_id": "file-…"}, and nowhere else')
    if sum(file.bytes for file in files) > MOST_FILE_BYTES:
        raise TargetRejected(f"an agent can be sent files of {MOST_FILE_BYTES} bytes together: send it their addresses")
    parts = list(message["parts"])
    for place, file in zip(named, files, strict=True):
        content = b"".join([piece async for piece in file.pieces()])
        rest = {name: value for name, value in parts[place].items() if name != FILE}
        raw = base64.b64encode(content).decode()
        parts[place] = {"raw": raw, "mediaType": file.content_type, "filename": file.filename, **rest}
    return {**message, "parts": parts}


def _part_of_url(url: str, place: str) -> dict[str, Any]:
    if not url.startswith(_DATA_URL):
        return {"url": url}
    head, comma, data = url.removeprefix(_DATA_URL).partition(",")
    media_type, *options = head.split(";")
    if not comma or "base64" not in options:
        raise TargetRejected(f"{place}: a data URL must be base64")
    return {"raw": data, "mediaType": media_type or "text/plain"}


def _member(body: Mapping[str, Any], name: str, default: _Value) -> _Value:
    """The member, of the default's type."""
    value = body.get(name, default)
    if not isinstance(value, type(default)):
        raise TargetRejected(f"{name}: {_KINDS[type(default)]}")
    return value

"""The shapes of events: CloudEvents 1.0, structured and binary, and EventBridge's. Each becomes what rules see.

Rules see an event as it was sent. A CloudEvent has ``detail-type`` and ``detail`` beside its own members, an
EventBridge-shaped event ``id`` and ``time`` where it was sent without, so that one pattern can serve both. Source:
https://github.com/cloudevents/spec (1.0.2).
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.datastructures import Headers

from forebay.domain.errors import RequestError
from forebay.engine.events import Incoming
from forebay.policy.json_text import DEEPEST, is_too_deep, why_not_json

MOST_EVENTS = 1000  # of one request
LARGEST_EVENT_BYTES = 1024 * 1024
LONGEST_NAME = 512  # of a source, an id or a type
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_CE = "ce-"
_RESERVED = frozenset({"data", "data_base64", "detail", "detail-type"})
_BRIDGE = ("id", "source", "detail-type", "detail", "time", "resources", "account", "region", "version")


class Reader:
    """Reads the events of one request. ``new_id`` and ``now`` fill what an event lacks."""

    def __init__(self, new_id: str, now: float) -> None:
        self._new_id = new_id
        self._now = now
        self._count = 0

    def read(self, headers: Headers, data: bytes) -> list[Incoming | RequestError]:
        """One entry an event, in their order. Raises: RequestError: the body is not one of the shapes."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if "ce-specversion" in headers:
            return [self._guarded(self._binary, (headers, data, kind))]
        value = _json(data)
        if kind == BATCH and not isinstance(value, list):
            raise RequestError("A batch of CloudEvents is an array", code="invalid_event")
        if kind == STRUCTURED and not isinstance(value, dict):
            raise RequestError("A structured CloudEvent is an object", code="invalid_event")
        values = value if isinstance(value, list) else [value]
        if len(values) > MOST_EVENTS:
            raise RequestError(f"A request has at most {MOST_EVENTS} events, not {len(values)}", code="too_many_events")
        is_cloud = kind in {BATCH, STRUCTURED}
        return [self._guarded(self._one, (one, is_cloud)) for one in values]

    def _guarded(self, read: Any, arguments: tuple[Any, ...]) -> Incoming | RequestError:
        try:
            event: Incoming = read(*arguments)
        except RequestError as error:
            return error
        return event

    def _one(self, value: Any, is_cloud: bool) -> Incoming:
        if not isinstance(value, dict):
            raise RequestError("An event is a JSON object", code="invalid_event")
        if is_cloud or "specversion" in value:
            return self._cloud(value)
        return self._bridge(value)

    def _bridge(self, value: dict[str, Any]) -> Incoming:
        for name in value:
            if name not in _BRIDGE:
                message = f"An event has no {name!r}; its own content goes into `detail`"
                raise RequestError(message, param=name, code="unknown_parameter")
        if not isinstance(value.get("detail"), dict):
            raise RequestError("`detail` must be an object", param="detail", code="invalid_event")
        source, kind = _name(value, "source"), _name(value, "detail-type")
        event_id = _name(value, "id") if value.get("id") is not None else self._next_id()
        whole = {**value, "id": event_id, "time": value.get("time") or _time(self._now)}
        return _incoming(source, event_id, kind, whole, value)

    def _cloud(self, value: dict[str, Any]) -> Incoming:
        if value.get("specversion") != "1.0":
            raise RequestError("`specversion` must be 1.0", param="specversion", code="invalid_event")
        for name, attribute in value.items():
            if name not in _RESERVED and not _is_attribute(name, attribute):
                message = f"{name!r} is no attribute: a name of a-z and 0-9, with a text, a number or a boolean"
                raise RequestError(message, param=name, code="invalid_event")
        if "data" in value and "data_base64" in value:
            raise RequestError("`data` and `data_base64` exclude each other", param="data", code="invalid_event")
        event_id, source, kind = _name(value, "id"), _name(value, "source"), _name(value, "type")
        whole = {**value, "detail-type": kind}
        if (data := _data(value)) is not None:
            whole["detail"] = data
        return _incoming(source, event_id, kind, whole, value)

    def _binary(self, headers: Headers, data: bytes, kind: str) -> Incoming:
        value: dict[str, Any] = {
            name.removeprefix(_CE): unquote(text) for name, text in headers.items() if name.startswith(_CE)
        }
        if kind:
            value["datacontenttype"] = headers["content-type"]
        if data:
            is_json = not kind or kind == "application/json" or kind.endswith("+json")
            if is_json:
                value["data"] = _json(data)
            elif kind.startswith("text/"):
                value["data"] = _text(data)
            else:
                value["data_base64"] = base64.b64encode(data).decode()
        return self._cloud(value)

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._new_id}-{self._count}"


def _incoming(source: str, event_id: str, kind: str, whole: Mapping[str, Any], sent: Mapping[str, Any]) -> Incoming:
    """``sent``: the event without what we added: a repeat is told by that, in whatever order its members come."""
    text = msgspec.json.encode(whole)
    if len(text) > LARGEST_EVENT_BYTES:
        raise RequestError(f"An event has at most {LARGEST_EVENT_BYTES} bytes", code="event_too_large")
    digest = hashlib.sha256(msgspec.json.encode(sent, order="deterministic")).hexdigest()
    return Incoming(source=source, id=event_id, type=kind, text=text.decode(), digest=digest)


def _name(value: Mapping[str, Any], member: str) -> str:
    name = value.get(member)
    if not isinstance(name, str) or not name or len(name) > LONGEST_NAME or "\0" in name:
        message = f"`{member}` must be a text of 1 to {LONGEST_NAME} characters"
        raise RequestError(message, param=member, code="invalid_event")
    return name


def _is_attribute(name: str, value: Any) -> bool:
    is_name = name.isascii() and name.isalnum() and name == name.lower()
    return is_name and isinstance(value, str | int | bool | None)


def _data(value: Mapping[str, Any]) -> Any:
    if "data_base64" in value:
        encoded = value["data_base64"]
        try:
            base64.b64decode(encoded if isinstance(encoded, str) else "?", validate=True)
        except binascii.Error as exc:
            raise RequestError("`data_base64` is not base64", param="data_base64", code="invalid_event") from exc
        return None
    return value.get("data")


def _json(data: bytes) -> Any:
    if is_too_deep(data):
        raise RequestError(f"The body is nested deeper than {DEEPEST}", code="invalid_json")
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RequestError(f"The body is {why_not_json(data, exc)}", code="invalid_json") from exc


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise RequestError("The event's text is not UTF-8", param="data", code="invalid_event") from exc


def _time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

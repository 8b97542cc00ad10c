"""Multipart forms as they come: parts, and their bytes in pieces, so that no file of a form stands in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from forebay.domain.errors import RequestError, TooLarge

if TYPE_CHECKING:  # the library makes the type for type checkers only
    from python_multipart.multipart import MultipartCallbacks

BAD_FORM = "invalid_multipart"
DEFAULT_TYPE = "application/octet-stream"


@dataclass(slots=True)
class Part:
    """The beginning of a part; its bytes follow. ``filename`` None: it is a field."""

    name: str
    filename: str | None
    content_type: str


_END = object()
Event = Part | bytes | object


def boundary_of(request: Request) -> bytes:
    """Raises: RequestError: it is no form."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise RequestError("Send a form as multipart/form-data, with its boundary")
    return boundary


async def bounded(events: AsyncIterator[Event], limit_bytes: int, name: str) -> AsyncIterator[bytes]:
    """The bytes of the part that just began. Raises: TooLarge."""
    size = 0
    async for event in events:
        if not isinstance(event, bytes):
            return
        size += len(event)
        if size > limit_bytes:
            raise TooLarge(f"The file is larger than {limit_bytes} bytes (setting `max_batch_bytes`)", param=name)
        yield event


async def text_of(events: AsyncIterator[Event], name: str, longest_bytes: int) -> str:
    """The field that just began. Raises: RequestError: it is no text. TooLarge."""
    held = b""
    async for event in events:
        if not isinstance(event, bytes):
            break
        held += event
        if len(held) > longest_bytes:
            raise TooLarge(f"The field {name!r} is longer than {longest_bytes} bytes", param=name)
    try:
        return held.decode()
    except UnicodeDecodeError as exc:
        raise RequestError(f"The field {name!r} is not UTF-8", param=name) from exc


async def events_of(request: Request, boundary: bytes) -> AsyncIterator[Event]:
    """The form as a stream: a part, its bytes, its end, and so on."""
    form = _Form()
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in request.stream():
            try:
                parser.write(chunk)
            finally:  # what came before a fault is read first, wherever the network cut the stream
                for event in form.take():
                    yield event
        parser.finalize()
    except FormParserError as exc:
        raise RequestError(f"The form can't be read: {exc}", code=BAD_FORM) from exc
    if not form.is_complete:
        raise RequestError("The form ends too soon", code=BAD_FORM)


class _Form:
    """Gathers what the parser calls back with."""

    def __init__(self) -> None:
        self.is_complete = False
        self._events: list[Event] = []
        self._headers: dict[str, str] = {}
        self._name = b""
        self._value = b""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_name,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_part,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._name = self._value = b""

    def _on_part(self) -> None:
        disposition = Message()
        disposition["content-disposition"] = self._headers.get("content-disposition", "")
        name = disposition.get_param("name", "", header="content-disposition")
        self._events.append(
            Part(
                name=str(name),
                filename=disposition.get_filename(),
                content_type=self._headers.get("content-type", DEFAULT_TYPE),
            )
        )

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(bytes(data[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(_END)

    def _on_end(self) -> None:
        self.is_complete = True

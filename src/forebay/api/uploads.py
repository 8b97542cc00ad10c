"""Uploads: a multipart form whose file goes to the blob store as it comes, and never stands in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from forebay.domain.errors import RequestError, TooLarge
from forebay.ports import BlobInfo, BlobStore

if TYPE_CHECKING:  # the library makes the type for type checkers only
    from python_multipart.multipart import MultipartCallbacks

LONGEST_FIELD_BYTES = 64 * 1024
MOST_FIELDS = 100
FILE_FIELD = "file"
DEFAULT_NAME = "upload"
BAD_FORM = "invalid_multipart"


@dataclass(slots=True)
class Upload:
    """A form that was read: its fields, and its file as a blob that nothing refers to yet."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str = DEFAULT_NAME
    content_type: str = "application/octet-stream"
    blob: BlobInfo | None = None


@dataclass(slots=True)
class _Part:
    """The beginning of a part; its bytes follow."""

    name: str
    filename: str | None
    content_type: str


_MISSING = "missing_required_parameter"
_END = object()
_Event = _Part | bytes | object


async def read_upload(request: Request, blobs: BlobStore, limit_bytes: int) -> Upload:
    """Reads the form; the file is durable when this returns.

    Raises: RequestError: it is no form, or has no file. TooLarge: before more than the limit was kept.
    """
    events = _events(request, _boundary(request))
    upload = Upload()
    async for event in events:
        if not isinstance(event, _Part):
            continue
        if event.name == FILE_FIELD:
            if upload.blob is not None:
                raise RequestError("The form has two files; an upload takes one", param=FILE_FIELD)
            upload.filename = event.filename or DEFAULT_NAME
            upload.content_type = event.content_type
            upload.blob = await blobs.write(_bounded(events, limit_bytes))
        elif len(upload.fields) >= MOST_FIELDS:
            raise TooLarge(f"The form has more than {MOST_FIELDS} fields")
        else:
            upload.fields[event.name] = await _text(events, event.name)
    if upload.blob is None:
        raise RequestError("The form has no file: send one as `file`", param=FILE_FIELD, code=_MISSING)
    return upload


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise RequestError("Send the file as multipart/form-data, with the fields `file` and `purpose`")
    return boundary


async def _bounded(events: AsyncIterator[_Event], limit_bytes: int) -> AsyncIterator[bytes]:
    size = 0
    async for event in events:
        if not isinstance(event, bytes):
            return
        size += len(event)
        if size > limit_bytes:
            raise TooLarge(f"The file is larger than {limit_bytes} bytes (setting `max_batch_bytes`)", param=FILE_FIELD)
        yield event


async def _text(events: AsyncIterator[_Event], name: str) -> str:
    held = b""
    async for event in events:
        if not isinstance(event, bytes):
            break
        held += event
        if len(held) > LONGEST_FIELD_BYTES:
            raise TooLarge(f"The field {name!r} is longer than {LONGEST_FIELD_BYTES} bytes", param=name)
    try:
        return held.decode()
    except UnicodeDecodeError as exc:
        raise RequestError(f"The field {name!r} is not UTF-8", param=name) from exc


async def _events(request: Request, boundary: bytes) -> AsyncIterator[_Event]:
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
        self._events: list[_Event] = []
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

    def take(self) -> list[_Event]:
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
            _Part(
                name=str(name),
                filename=disposition.get_filename(),
                content_type=self._headers.get("content-type", "application/octet-stream"),
            )
        )

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(bytes(data[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(_END)

    def _on_end(self) -> None:
        self.is_complete = True

"""A model's request as it comes: JSON as it stands, or a form, whose files become files of ours and its fields JSON."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import Request

from forebay.api.bodies import read_body
from forebay.api.context import Api, Caller
from forebay.api.files.forms import Part, boundary_of, bounded, events_of, text_of
from forebay.domain.errors import TooLarge
from forebay.domain.file import FILE, FileData
from forebay.engine.handlers.batch import put_file
from forebay.ports import BlobInfo

FORM = "multipart/"
MOST_PARTS = 200
USER_DATA = "user_data"
DEFAULT_NAME = "file"
_FLAGS = {"true": True, "false": False}


@dataclass(slots=True)
class CallBody:
    """``data`` is the body's JSON. ``known_by``: what a repeat is known by, a file by its bytes and not by its id."""

    data: bytes
    known_by: bytes
    is_form: bool = False
    file_ids: list[str] = field(default_factory=list)

    is_wanted: bool = False

    @asynccontextmanager
    async def kept(self, api: Api, caller: Caller) -> AsyncIterator["CallBody"]:
        """At the end the files of a form go that is not wanted: it was refused, or sent before."""
        try:
            yield self
        finally:
            if not self.is_wanted:
                for file_id in self.file_ids:
                    await api.services.records.delete(caller.tenant, FILE, file_id)


@dataclass(slots=True)
class _Sent:
    """A part that was read."""

    name: str
    text: str = ""
    file: FileData | None = None
    blob: BlobInfo | None = None


async def read_call(request: Request, api: Api, caller: Caller) -> CallBody:
    """Reads the body; the files of a form are durable when this returns. Raises: RequestError, TooLarge."""
    if not request.headers.get("content-type", "").startswith(FORM):
        data = await read_body(request, api.system.settings.max_body_bytes)
        return CallBody(data=data, known_by=data)
    parts = await _parts(request, api)
    known_by = [[part.name, part.blob.sha256 if part.blob else part.text, part.file] for part in parts]
    made = CallBody(data=b"", known_by=msgspec.json.encode(known_by), is_form=True)
    members: dict[str, list[Any]] = {}
    for part in parts:
        members.setdefault(part.name, []).append(await _value(part, made, api, caller))
    made.data = msgspec.json.encode(
        {name: values if len(values) > 1 or name.endswith("[]") else values[0] for name, values in members.items()}
    )
    return made


async def _parts(request: Request, api: Api) -> list[_Sent]:
    events = events_of(request, boundary_of(request))
    room, file_room = api.system.settings.max_body_bytes, api.services.bounds.max_batch_bytes
    parts: list[_Sent] = []
    async for event in events:
        if not isinstance(event, Part):
            continue
        if len(parts) >= MOST_PARTS:
            raise TooLarge(f"The form has more than {MOST_PARTS} parts")
        if event.filename is None:
            text = await text_of(events, event.name, room)
            room -= len(text)
            parts.append(_Sent(event.name, text=text))
            continue
        blob = await api.services.blobs.write(bounded(events, file_room, event.name))
        file_room -= blob.bytes
        data = FileData(filename=event.filename or DEFAULT_NAME, purpose=USER_DATA, content_type=event.content_type)
        parts.append(_Sent(event.name, file=data, blob=blob))
    return parts


async def _value(part: _Sent, made: CallBody, api: Api, caller: Caller) -> Any:
    """What stands for a part in the JSON."""
    if part.file is None or part.blob is None:
        return _FLAGS.get(part.text, part.text) if part.name == "stream" else part.text
    bounds, now = api.services.bounds, api.services.clock.now()
    expires_at = now + bounds.default_deadline_seconds + bounds.result_ttl_seconds
    record = await put_file(part.blob, part.file, api.services, tenant=caller.tenant, expires_at=expires_at)
    made.file_ids.append(record.id)
    return {"file_id": record.id}

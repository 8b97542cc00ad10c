"""A file's bytes as a reply: an upload's blob, or the segments of a batch, whole, by byte range, or from a line on."""

import re
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from forebay.api.context import Api
from forebay.domain.content import Segment
from forebay.domain.errors import NotFound, RequestError
from forebay.domain.file import FileData
from forebay.domain.record import Record
from forebay.ports import BlobStore

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_UNSATISFIABLE = 416
_PARTIAL = 206


class Content(Record, frozen=True, kw_only=True):
    """Pieces that follow one another. ``is_growing``: more will follow."""

    segments: tuple[Segment, ...]
    is_growing: bool = False

    @property
    def bytes(self) -> int:
        return sum(segment.bytes for segment in self.segments)

    @property
    def lines(self) -> int:
        return sum(segment.lines for segment in self.segments)


async def content_of(data: FileData, api: Api, tenant: str) -> Content:
    """Where a file's bytes are. Raises: NotFound: its batch was removed."""
    if data.blob_id is not None:
        return Content(segments=(Segment(name="", blob_id=data.blob_id, lines=0, bytes=data.bytes),))
    job_id, stream = data.job_id or "", data.stream or ""
    [job] = await api.services.jobs.get(tenant, [job_id])
    if job is None:
        raise NotFound(f"The content of {data.filename!r} is gone")
    # The job was read first: if it has ended, these are all its segments.
    segments = await api.services.jobs.segments(job_id, stream)
    return Content(segments=tuple(segments), is_growing=not job.is_terminal)


async def content_response(request: Request, data: FileData, content: Content, blobs: BlobStore) -> Response:
    """The reply of ``GET /v1/files/{id}/content``. Raises: RequestError: offset or range can't be read."""
    headers = {"content-disposition": disposition(data.filename), "accept-ranges": "bytes"}
    offset = _offset(request)
    if data.job_id is not None:
        headers |= progress_headers(content)
    if offset is not None:
        if data.job_id is None:
            raise RequestError("offset: it is for the output of a batch", param="offset")
        return _stream(from_line(content.segments, offset, blobs), data, headers)
    size = content.bytes
    try:
        asked = _range(request.headers.get("range"), size)
    except ValueError:
        return Response(status_code=_UNSATISFIABLE, headers=headers | {"content-range": f"bytes */{size}"})
    start, end = asked or (0, size)
    headers["content-length"] = str(end - start)
    if asked is None:
        return _stream(from_byte(content.segments, 0, size, blobs), data, headers)
    headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    return _stream(from_byte(content.segments, start, end, blobs), data, headers, status_code=_PARTIAL)


def progress_headers(content: Content) -> dict[str, str]:
    """How much of a batch's file there is: the number of its lines, and whether more will follow."""
    return {"x-incomplete": "true" if content.is_growing else "false", "x-last-line": str(content.lines)}


async def from_byte(segments: Sequence[Segment], start: int, end: int, blobs: BlobStore) -> AsyncIterator[bytes]:
    """Streams bytes ``start`` to ``end`` of the segments."""
    for segment in segments:
        if start < segment.bytes and end > 0:
            async for piece in blobs.read(segment.blob_id, max(start, 0), min(end, segment.bytes)):
                yield piece
        start, end = start - segment.bytes, end - segment.bytes


async def from_line(segments: Sequence[Segment], offset: int, blobs: BlobStore) -> AsyncIterator[bytes]:
    """Streams the lines from ``offset`` on; whole segments before it are not read."""
    for segment in segments:
        if offset >= segment.lines:
            offset -= segment.lines
            continue
        async for piece in blobs.read(segment.blob_id):
            offset, rest = _skip(piece, offset)
            if rest:
                yield rest


def disposition(filename: str) -> str:
    """Source: RFC 6266; the plain name has what every client reads, the second one the whole."""
    plain = re.sub(r'[^ -~]|["\\]', "_", filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{extended}'


def media_type(text: str) -> str:
    """The media type as a header can carry it: what an uploader or an upstream wrote may be anything."""
    return text if text.isascii() and text.isprintable() else "application/octet-stream"


def _skip(piece: bytes, lines: int) -> tuple[int, bytes]:
    start = 0
    while lines > 0:
        end = piece.find(b"\n", start)
        if end < 0:
            return lines, b""
        start, lines = end + 1, lines - 1
    return 0, piece[start:]


def _stream(
    chunks: AsyncIterator[bytes], data: FileData, headers: dict[str, str], *, status_code: int = 200
) -> Response:
    return StreamingResponse(chunks, status_code=status_code, headers=headers, media_type=media_type(data.content_type))


def _offset(request: Request) -> int | None:
    text = request.query_params.get("offset")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise RequestError(f"offset: it must be a number of lines, not {text!r}", param="offset")
    return int(text)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """One range; what we don't understand is ignored, as RFC 9110 (14.2) has it. Raises: ValueError: beyond the end."""
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found[0] == "bytes=-":
        return None
    if not found[1]:
        start, end = max(size - int(found[2]), 0), size
    else:
        start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= end:
        raise ValueError(header)
    return start, end

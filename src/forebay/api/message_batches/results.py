"""Results of message batches: the lines that a batch keeps in OpenAI's shape, told in Anthropic's as they are read."""

from collections.abc import AsyncIterator

import msgspec

from forebay.api.anthropic_errors import type_of_code, type_of_status
from forebay.api.files.content import Content, from_byte
from forebay.api.lines import lines_of
from forebay.engine.handlers.batch.reading import LONGEST_LINE_BYTES
from forebay.ports import BlobStore

PIECE_BYTES = 64 * 1024  # sent at once
_LEAST_ERROR_STATUS = 400
_OVERTAKEN = {"batch_cancelled": "canceled", "batch_expired": "expired"}
_UNKNOWN_STATUS = 500


class _Response(msgspec.Struct, gc=False):
    status_code: int | None
    request_id: str | None
    body: msgspec.Raw


class _Error(msgspec.Struct, gc=False):
    code: str
    message: str


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


class _Given(msgspec.Struct, gc=False):
    type: str
    message: str


class _Envelope(msgspec.Struct, gc=False):
    """The part of an error's envelope on which both vendors agree."""

    error: _Given
    type: str = ""


_LINE = msgspec.json.Decoder(_Line)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_encode = msgspec.json.encode


async def result_lines(content: Content, blobs: BlobStore) -> AsyncIterator[bytes]:
    """Streams the results; no more than a few lines stand in memory."""
    held: list[bytes] = []
    held_bytes = 0
    # A result may be longer than the request that it answers: what was written is read, whatever its length.
    async for raw in lines_of(from_byte(content.segments, 0, content.bytes, blobs), 4 * LONGEST_LINE_BYTES):
        if raw is None:
            continue
        held.append(line := result_line(raw))
        held_bytes += len(line)
        if held_bytes >= PIECE_BYTES:
            yield b"".join(held)
            held, held_bytes = [], 0
    if held:
        yield b"".join(held)


def result_line(raw: bytes) -> bytes:
    """One line of a batch's output or errors, as Anthropic's clients read it."""
    line = _LINE.decode(raw)
    return _encode({"custom_id": line.custom_id, "result": _result(line)}) + b"\n"


def _result(line: _Line) -> dict[str, object]:
    response, error = line.response, line.error
    if response is not None and (response.status_code or 0) >= _LEAST_ERROR_STATUS:
        return {"type": "errored", "error": _refusal(response)}
    if error is None and response is not None:
        return {"type": "succeeded", "message": response.body}
    if error is not None and error.code in _OVERTAKEN:
        return {"type": _OVERTAKEN[error.code]}
    error = error or _Error(code="", message="The request failed without a reason")
    return {"type": "errored", "error": _envelope(type_of_code(error.code), error.message, None)}


def _refusal(response: _Response) -> object:
    """The model's own words where they have Anthropic's shape, else a like one around them."""
    try:
        given = _ENVELOPE.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = bytes(response.body).decode(errors="replace")
        return _envelope(type_of_status(response.status_code or _UNKNOWN_STATUS), text, response.request_id)
    if given.type == "error":
        return response.body
    kind = type_of_status(response.status_code or _UNKNOWN_STATUS)
    return _envelope(kind, given.error.message, response.request_id)


def _envelope(kind: str, message: str, request_id: str | None) -> dict[str, object]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}

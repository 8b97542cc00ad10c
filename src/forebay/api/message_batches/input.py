"""The body of ``POST /v1/messages/batches``, written as a batch's input file while it comes: it never stands in memory.

Source: Anthropic's API reference, "Create a Message Batch" (November 2026). Unknown fields are ignored, as theirs are.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
from starlette.requests import Request

from forebay.api.bodies import decode
from forebay.domain.errors import RequestError, TooLarge
from forebay.engine.handlers.batch.reading import LONGEST_LINE_BYTES, pieces_of
from forebay.engine.services import Bounds
from forebay.policy.batch_input import DuplicateCheck, SeenIds
from forebay.policy.json_cutting import ArrayCutter, NotJson, TooLong
from forebay.policy.resolution import MESSAGES
from forebay.ports import BlobInfo, BlobStore

T = TypeVar("T")

REQUESTS = "requests"
_ENVELOPE_BYTES = 1_024  # what a line has around its request's own words, at most
_PIECE_BYTES = 256 * 1024  # written at once
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
_KEY = b'"idempotency_key"'
_ANY = msgspec.json.Decoder()
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LINE = b'{"custom_id":"%b","method":"POST","url":"' + MESSAGES.encode() + b'","body":%b}\n'


class MessageBatchRequest(msgspec.Struct, kw_only=True):
    """One of the requests: its id, and the body of a call of ``/v1/messages``."""

    custom_id: str
    params: msgspec.Raw


class _Params(msgspec.Struct, kw_only=True):
    """What we look at; all else is the model's affair."""

    model: str
    max_tokens: int
    messages: msgspec.Raw
    stream: bool | None = None


_REQUEST = msgspec.json.Decoder(MessageBatchRequest)
_PARAMS = msgspec.json.Decoder(_Params)


class BatchInput:
    """One body on its way into a blob. ``digest`` is of the JSON that it says, whatever its spaces and order."""

    def __init__(self, bounds: Bounds) -> None:
        self.count = 0
        self._bounds = bounds
        self._cutter = ArrayCutter(REQUESTS, longest_bytes=LONGEST_LINE_BYTES - _ENVELOPE_BYTES)
        self._seen = SeenIds()
        self._digest = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> bytes:
        return self._digest.hexdigest().encode()

    @property
    def idempotency_key(self) -> str | None:
        """The body's own key. Raises: RequestError: it is no text."""
        raw = self._cutter.others.get(_KEY)
        value = None if raw is None else _ANY.decode(raw)
        if value is not None and not isinstance(value, str):
            raise RequestError("idempotency_key: it must be a string", param="idempotency_key")
        return value

    async def write(self, request: Request, blobs: BlobStore) -> BlobInfo:
        """Reads the body; its lines are durable when this returns.

        Raises: RequestError: what is wrong with the body, or the first of its requests that is. TooLarge.
        """
        info = await blobs.write(self._lines(request))
        if suspects := self._seen.repeated():
            check = DuplicateCheck(suspects)
            async for piece in pieces_of(blobs, info.id):
                await asyncio.to_thread(check.feed, piece)
            if check.errors:
                place = f"{REQUESTS}.{(check.errors[0].line or 1) - 1}.custom_id"
                raise RequestError(f"{place}: custom_id must be unique within a batch", param=place)
        return info

    async def _lines(self, request: Request) -> AsyncIterator[bytes]:
        held: list[bytes] = []
        size = held_bytes = 0
        async for piece in request.stream():
            size += len(piece)
            if size > self._bounds.max_batch_bytes:
                message = f"The body is larger than {self._bounds.max_batch_bytes} bytes (setting `max_batch_bytes`)"
                raise TooLarge(message, code="request_too_large")
            for element in self._cut(piece):
                held.append(line := self._line(element))
                held_bytes += len(line)
            if held_bytes >= _PIECE_BYTES:
                yield b"".join(held)
                held, held_bytes = [], 0
        self._finish(size)
        yield b"".join(held)

    def _cut(self, piece: bytes) -> list[bytes]:
        try:
            return self._cutter.feed(piece)
        except NotJson as exc:
            raise RequestError(f"The body is {exc}", code="invalid_json") from exc
        except TooLong as exc:
            message = f"{REQUESTS}.{self.count}: it is longer than {exc} bytes"
            raise TooLarge(message, param=f"{REQUESTS}.{self.count}", code="request_too_large") from exc

    def _line(self, element: bytes) -> bytes:
        place = f"{REQUESTS}.{self.count}"
        if self.count >= self._bounds.max_batch_lines:
            most = self._bounds.max_batch_lines
            message = f"{REQUESTS}: at most {most} requests in a batch (setting `max_batch_lines`)"
            raise RequestError(message, param=REQUESTS, code="too_many_lines")
        request = _placed(_REQUEST, element, place)
        if not _CUSTOM_ID.fullmatch(request.custom_id):
            message = (
                f"{place}.custom_id: it must be 1 to 64 letters, digits, '_' and '-' (pattern {_CUSTOM_ID.pattern})"
            )
            raise RequestError(message, param=f"{place}.custom_id")
        params = bytes(request.params)
        _check(_placed(_PARAMS, params, f"{place}.params"), f"{place}.params")
        self.count += 1
        self._seen.add(request.custom_id)
        self._digest.update(hashlib.blake2b(_canonical(element), digest_size=16).digest())
        # A line is one line: newlines stand in JSON only as white space between its tokens.
        return _LINE % (request.custom_id.encode(), params.replace(b"\r", b" ").replace(b"\n", b" "))

    def _finish(self, size: int) -> None:
        if not size:
            raise RequestError("The body is empty; it must be a JSON object", code="invalid_json")
        try:
            self._cutter.finish()
        except NotJson as exc:
            raise RequestError(f"The body is {exc}", code="invalid_json") from exc
        for name, value in sorted(self._cutter.others.items()):
            decode(_MEMBERS, b"{%b:%b}" % (name, value))
            if name != _KEY:
                self._digest.update(name + b":" + _canonical(value))
        if not self._cutter.is_found:
            raise RequestError(f"{REQUESTS}: it is required", param=REQUESTS, code="missing_required_parameter")
        if not self.count:
            raise RequestError(f"{REQUESTS}: there must be at least one request", param=REQUESTS)


def _check(params: _Params, place: str) -> None:
    if params.stream:
        message = f"{place}.stream: streaming is not supported in a batch"
        raise RequestError(message, param=f"{place}.stream", code="streaming_unsupported")
    if params.max_tokens < 1:
        message = f"{place}.max_tokens: it must be greater than or equal to 1"
        raise RequestError(message, param=f"{place}.max_tokens")
    if not params.model or "\0" in params.model:
        raise RequestError(f"{place}.model: it must not be empty", param=f"{place}.model")


def _placed(decoder: msgspec.json.Decoder[T], data: bytes, place: str) -> T:
    """Decodes one value of the body; what is wrong with it is told with its place in the whole."""
    try:
        return decode(decoder, data)
    except RequestError as error:
        param = f"{place}.{error.param}" if error.param else place
        message = error.message.removeprefix(f"{error.param}: ")
        raise RequestError(f"{param}: {message}", param=param, code=error.code) from error


def _canonical(raw: bytes) -> bytes:
    try:
        return msgspec.json.encode(_ANY.decode(raw), order="deterministic")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # a number that no program holds (1e400)
        return raw

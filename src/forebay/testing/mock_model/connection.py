"""HTTP/1.1 as far as a mock needs it: one asyncio protocol per connection, kept alive, requests answered in order.

Raw, because the mock must never be what a benchmark measures: uvicorn's ASGI costs several times as much per request.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final, cast

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 256 * 1024 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"
_NO_LINGER = struct.pack("ii", 1, 0)  # closing sends a reset
_FLUSH_SECONDS = 0.02  # a reset right behind data may overtake it in the client's kernel


class HttpRequest:
    """One request as it came; headers are searched for, not parsed."""

    __slots__ = ("_head", "_lower", "body", "is_last", "method", "path", "query")

    def __init__(self, head: bytes, lower: bytes, body: bytes) -> None:
        self._head = head
        self._lower = lower
        self.body = body
        line_end = head.find(b"\r\n")
        parts = (head if line_end < 0 else head[:line_end]).split(b" ")
        self.method = parts[0].decode("latin-1")
        target = parts[1].decode("latin-1") if len(parts) > 1 else "/"
        self.path, _, self.query = target.partition("?")
        self.is_last = self.header("connection") == "close"

    def header(self, name: str) -> str | None:
        """Returns a header's value; ``name`` is lower-case."""
        return _header(self._head, self._lower, name.encode())


Handler = Callable[["Connection", HttpRequest], None]


class Connection(asyncio.Protocol):
    """Reads requests one after the other; the next waits until ``reply``, ``end_stream`` or the end of this one."""

    def __init__(self, handle: Handler, registry: set["Connection"]) -> None:
        self._handle = handle
        self._registry = registry  # of open connections
        self._buffer = bytearray()
        self._is_busy = False  # a request was handed over and is not answered yet
        self._is_advancing = False
        self._is_last = False
        self._is_continued = False  # the client was told to send its body
        self._transport: asyncio.Transport | None = None
        self.on_lost: Callable[[], None] | None = None  # called once if the client goes away before it was answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, but not by isinstance
        self._registry.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._registry.discard(self)
        self._transport = None
        if self.on_lost is not None:
            self.on_lost()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def reply(self, answer: bytes, *, closes: bool = False) -> None:
        """Sends a whole answer and goes on to the next request."""
        self.write(answer)
        self.finish(closes=closes)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def finish(self, *, closes: bool = False) -> None:
        """The answer is complete: the next request may be read."""
        self.on_lost = None
        self._is_busy = False
        if self._transport is None:
            return
        if closes or self._is_last:
            self._transport.close()
        else:
            self._advance()

    def reset(self) -> None:
        """Resets the connection, as a server that crashed."""
        self.on_lost = None
        if self._transport is None:
            return
        raw: socket.socket | None = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    def reset_soon(self) -> None:
        """Resets after what was written has left."""
        asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.reset)

    def close(self) -> None:
        """Closes in good order."""
        self.on_lost = None
        if self._transport is not None:
            self._transport.close()

    def _advance(self) -> None:
        """Hands over requests, one at a time; a loop, since answers that come at once end in here again."""
        if self._is_advancing:
            return
        self._is_advancing = True
        while not self._is_busy and self._buffer and (request := self._take()) is not None:
            self._is_busy = True
            self._is_last = request.is_last
            self._handle(self, request)
        self._is_advancing = False

    def _take(self) -> HttpRequest | None:
        """Takes the next whole request out of the buffer."""
        head_end = self._buffer.find(_END_OF_HEAD)
        if head_end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
            return None
        head = bytes(self._buffer[:head_end])
        lower = head.lower()
        start = head_end + len(_END_OF_HEAD)
        try:
            taken = self._take_body(head, lower, start)
        except ValueError:
            self._refuse(b"400 Bad Request")
            return None
        if taken is None:
            if not self._is_continued and _header(head, lower, b"expect") is not None:
                self._is_continued = True
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        body, end = taken
        del self._buffer[:end]
        self._is_continued = False
        return HttpRequest(head, lower, body)

    def _take_body(self, head: bytes, lower: bytes, start: int) -> tuple[bytes, int] | None:
        """Returns the body and where it ends; None while it is incomplete. Raises: ValueError: it is malformed."""
        if _header(head, lower, b"transfer-encoding") == "chunked":
            return _unchunked(self._buffer, start)
        length = int(_header(head, lower, b"content-length") or 0)
        if not 0 <= length <= MAX_BODY_BYTES:
            raise ValueError(length)
        end = start + length
        return None if len(self._buffer) < end else (bytes(self._buffer[start:end]), end)

    def _refuse(self, status: bytes) -> None:
        self._buffer.clear()
        self.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.close()


def _header(head: bytes, lower: bytes, name: bytes) -> str | None:
    start = lower.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return (head[start:] if end < 0 else head[start:end]).strip().decode("latin-1")


def _unchunked(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    pieces: list[bytes] = []
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None
        size = int(buffer[start:line_end].partition(b";")[0], 16)
        start = line_end + 2
        if size == 0:
            trailer_end = buffer.find(b"\r\n", start)
            return None if trailer_end < 0 else (b"".join(pieces), trailer_end + 2)
        if len(buffer) < start + size + 2:
            return None
        pieces.append(bytes(buffer[start : start + size]))
        start += size + 2

"""The server's side of a connection: uvicorn's, with bounds on a request's head and on how slowly it may come."""

import asyncio
from http import HTTPStatus
from typing import cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from forebay.api.errors import ErrorEnvelope, Problem, error_body
from forebay.api.websocket_protocol import SOCKET_PATHS

LONGEST_HEAD_BYTES = 64 * 1024  # the address and all headers; nginx takes 4 of 8 kB, Node 16 kB in all
HEAD_SECONDS = 30.0  # from the connection, or a request's first byte, to the end of its head
SILENCE_SECONDS = 60.0  # between two pieces of a body

_STATUS_LINE = "HTTP/1.1 {} {}\r\n"
_HEADERS = "content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """One connection. A request that is too large or too slow is answered, and its connection closed."""

    _head_bytes = 0
    _is_in_head = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._await(HEAD_SECONDS, "The request's head did not come in time")

    def data_received(self, data: bytes) -> None:
        if self._deadline is not None and not self._is_in_head:
            self._deadline.cancel()
            self._deadline = None
        super().data_received(data)
        if self.parser is None or self.transport.is_closing():
            return
        if self._is_in_head:
            self._bound_head(len(data))
        elif self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete:
            self._await(SILENCE_SECONDS, "The request's body did not come in time")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        """Only where there is a socket, and never in the middle of another request's answer."""
        is_idle = self.cycle is None or self.cycle.response_complete
        return is_idle and self.url.partition(b"?")[0] in SOCKET_PATHS and super()._should_upgrade()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _bound_head(self, received_bytes: int) -> None:
        """A head that came whole with its first piece is bounded by what one read of the socket takes."""
        self._head_bytes += received_bytes
        if self._head_bytes > LONGEST_HEAD_BYTES:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            self._refuse(status, f"The address and the headers have more than {LONGEST_HEAD_BYTES} bytes")
        elif self._deadline is None:
            self._await(HEAD_SECONDS, "The request's head did not come in time")

    def _await(self, seconds: float, message: str) -> None:
        self._deadline = self.loop.call_later(seconds, self._give_up, message)

    def _give_up(self, message: str) -> None:
        self._deadline = None
        if self.flow.read_paused:  # it is we who don't read
            self._await(SILENCE_SECONDS, message)
            return
        is_answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self.transport.is_closing() or is_answering:
            return
        if self.cycle is not None and not self.cycle.response_complete and not self._is_in_head:
            self.cycle.disconnected = True  # whoever reads the body is told that no more will come
            self.cycle.message_event.set()
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, message)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        code = status.phrase.lower().replace(" ", "_")
        envelope = ErrorEnvelope(error=error_body(Problem(status=status, message=message, code=code)))
        body = msgspec.json.encode(envelope)
        head = _STATUS_LINE.format(status.value, status.phrase) + _HEADERS.format(len(body))
        self.transport.write(head.encode() + body)
        self.transport.close()

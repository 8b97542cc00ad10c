"""The server's side of a connection: uvicorn's, with bounds on a request's head and on how slowly it may come."""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from starlette.requests import HTTPConnection
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from forebay.api.errors import Problem, error_document
from forebay.api.websocket.protocol import SOCKET_PATHS
from forebay.settings.records import Settings

_STATUS_LINE = "HTTP/1.1 {} {}\r\n"
_HEADERS = "content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """One connection. A request that is too large or too slow is answered, and its connection closed.

    A body is looked at once in `body_timeout`: what came since must make `min_upload_rate`, unless it is we who don't
    read. A trickle so ends, however steady it is, and also where the answer was given before the body had come.
    """

    _piece_bytes = 0
    _head_bytes = 0  # of the pieces before
    _body_bytes = 0
    _framing_bytes = 0  # since the last piece of a body: trailers and extensions of chunks
    _has_body_come = False
    _is_in_head = False
    _is_in_message = False
    _is_handed_over = False
    _deadline: asyncio.TimerHandle | None = None
    _problem: Problem | None = None

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **options: Any) -> None:
        super().__init__(config, server_state, app_state, **options)
        self._settings: Settings = cast("Any", config.app).state.api.system.settings

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._await_head()

    def data_received(self, data: bytes) -> None:
        self._piece_bytes = len(data)
        self._body_bytes += len(data)
        super().data_received(data)
        if self.parser is None or self._is_handed_over or self.transport.is_closing():
            return
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._settings.max_head_bytes:
                self._refuse(self._large_head())
            elif self._deadline is None:
                self._await_head()
        elif self._is_in_message:
            self._note_body(len(data))
        elif self.timeout_keep_alive_task is None and self.cycle is not None and self.cycle.response_complete:
            # what came was no request: the connection is as idle as before
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def handle_websocket_upgrade(self) -> None:
        self._is_handed_over = True
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = self._is_in_message = True
        self._head_bytes = self._framing_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # else it is a trailer, which says nothing to us
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._has_body_come = True
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._disarm()
        self._problem = self._wrong_head()
        if self._problem is not None:
            raise ValueError(self._problem.message)  # ends the parser, which asks for a 400
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_message = False
        self._disarm()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        """Only where there is a socket, and never in the middle of another request's answer."""
        is_idle = self.cycle is None or self.cycle.response_complete
        return is_idle and self.url.partition(b"?")[0] in SOCKET_PATHS and super()._should_upgrade()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._problem or _problem(HTTPStatus.BAD_REQUEST, msg))

    def _is_in_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete

    def _wrong_head(self) -> Problem | None:
        settings = self._settings
        if len(self.url) > settings.max_url_bytes:
            message = f"The address has more than {settings.max_url_bytes} bytes (setting `max_url_bytes`)"
            return _problem(HTTPStatus.REQUEST_URI_TOO_LONG, message)
        if len(self.headers) > settings.max_headers:
            message = f"The request has more than {settings.max_headers} headers (setting `max_headers`)"
            return _problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)
        if self._head_bytes + self._piece_bytes > settings.max_head_bytes:  # with what came behind it
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            return self._large_head() if size > settings.max_head_bytes else None
        return None

    def _large_head(self) -> Problem:
        bound = self._settings.max_head_bytes
        message = f"The address and the headers have more than {bound} bytes (setting `max_head_bytes`)"
        return _problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(self._settings.head_timeout_seconds, self._give_up, "head")

    def _note_body(self, size: int) -> None:
        """What came is not in the head. More framing between two pieces of a body than a head may have is refused."""
        self._framing_bytes = 0 if self._has_body_come else self._framing_bytes + size
        self._has_body_come = False
        if self._framing_bytes > self._settings.max_head_bytes:
            self._refuse(self._large_head())
        elif self._deadline is None:
            self._await_body()

    def _await_body(self) -> None:
        self._body_bytes = 0
        self._deadline = self.loop.call_later(self._settings.body_timeout_seconds, self._look_at_body)

    def _look_at_body(self) -> None:
        self._deadline = None
        wanted = self._settings.min_upload_rate_bytes * self._settings.body_timeout_seconds
        if not self._is_in_message or self.transport.is_closing():
            return
        is_read = not (self.flow.read_paused or (self._is_in_body() and self.cycle.body))
        if not is_read or self._body_bytes >= wanted:
            self._await_body()
        else:
            self._give_up("body")

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self, part: str) -> None:
        self._deadline = None
        is_answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self.transport.is_closing() or is_answering:
            return
        if self._is_in_body() and not self._is_in_head:
            self.cycle.disconnected = True  # whoever reads the body is told that no more will come
            self.cycle.message_event.set()
        self._refuse(_problem(HTTPStatus.REQUEST_TIMEOUT, f"The request's {part} did not come in time"))

    def _refuse(self, problem: Problem) -> None:
        """Answers in the shape of the wire that the address is of, as far as it is known; never within an answer."""
        is_answered = self._is_in_message and not self._is_in_head and self.cycle is not None
        if self.cycle is not None and self.cycle.response_started and (is_answered or not self.cycle.response_complete):
            self.transport.close()
            return
        path = getattr(self, "url", b"").partition(b"?")[0].decode("latin-1")
        headers = getattr(self, "headers", None) or []
        body = error_document(problem, HTTPConnection({"type": "http", "path": path, "headers": headers}))
        status = HTTPStatus(problem.status)
        head = _STATUS_LINE.format(status.value, status.phrase) + _HEADERS.format(len(body))
        self.transport.write(head.encode() + body)
        self.transport.close()


def _problem(status: HTTPStatus, message: str) -> Problem:
    return Problem(status=status, message=message, code=status.phrase.lower().replace(" ", "_").replace("-", "_"))

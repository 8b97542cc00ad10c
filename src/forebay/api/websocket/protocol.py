"""The server's side of a socket: uvicorn's on the ``websockets`` library, with bounds on who sends or reads nothing."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from forebay.api.limits import Unfinished
from forebay.domain.errors import Overloaded

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

    from forebay.api.context import Api  # only named here

CLOSE_SECONDS = 5.0  # for what was written to be taken, and the close to be answered
PING_SECONDS = 30.0  # between two pings, and for the answer: below the idle limits of proxies
SOCKET_PATHS = frozenset({b"/v1/ws", b"/ws", b"/v1/graphql", b"/graphql"})
STRANGER_BYTES = 256 * 1024  # read of a client before it is known who it is
MOST_FRAMES = 1000  # of one message
TRY_AGAIN_LATER = 1013
_TRUST = "forebay.trust"
_LOG = logging.getLogger("forebay.websocket")
_LOG.setLevel(logging.WARNING)  # below it are addresses, headers with keys, and what was said


def trust(scope: Scope) -> None:
    """From now on the socket's client may send messages of any size that is allowed: it is known who it is."""
    told: Callable[[], None] | None = scope.get(_TRUST)
    if told is not None:
        told()


class SocketProtocol(WebSocketsSansIOProtocol):
    """One socket. A close never waits for a client that takes nothing, and no log has what it asked for or said.

    A stranger is read from no further than a first message needs, until the app trusts it or answers it.
    """

    _heard_bytes = 0
    _is_trusted = False
    _is_held = False
    _unfinished: Unfinished | None = None

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.logger = self.conn.logger = _LOG
        self.conn.debug = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.frames or self.conn.reader.buffer or self._unfinished is not None:
            self._note(len(data))
        if self._is_trusted:
            return
        self._heard_bytes += len(data)
        if self._heard_bytes > STRANGER_BYTES and not self._is_held and not self.transport.is_closing():
            self._is_held = True
            self.transport.pause_reading()

    async def run_asgi(self) -> None:
        cast("dict[str, Any]", self.scope)[_TRUST] = self._trust
        await super().run_asgi()

    async def send(self, message: "ASGISendEvent") -> None:
        if message["type"] == "websocket.close":
            self.writable.set()  # it is written behind what the client has not taken yet
            self.loop.call_later(CLOSE_SECONDS, self.transport.abort)
        elif message["type"] == "websocket.send":
            self._trust()
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # else uvicorn logs an error of the app's: a refusal is none

    def shutdown(self) -> None:
        super().shutdown()  # closes with 1012
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._unfinished is not None:
            self._unfinished.end()
        super().connection_lost(exc)

    def _note(self, received_bytes: int) -> None:
        """Notes how much of a message that has not come whole is held: it takes room, and must go on coming."""
        if len(self.frames) > MOST_FRAMES:
            self._refuse("A message may have 1,000 frames")
            return
        if self._unfinished is None:
            api: Api = cast("Any", self.config.app).state.api
            self._unfinished = Unfinished(api.room, api.system.settings, self._look)
        held = len(self.conn.reader.buffer) + sum(map(len, self.frames))
        try:
            self._unfinished.note(held, received_bytes)
        except Overloaded as error:
            self._refuse(error.message)

    def _look(self) -> None:
        if self._unfinished is not None and not self._unfinished.is_coming(is_read=not self.read_paused):
            self._refuse("The message did not come in time")

    def _refuse(self, reason: str) -> None:
        if not self.close_sent and not self.transport.is_closing():
            self.close_sent = True
            self.conn.send_close(TRY_AGAIN_LATER, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def _trust(self) -> None:
        self._is_trusted = True
        if self._is_held:
            self._is_held = False
            if not self.read_paused and not self.transport.is_closing():
                self.transport.resume_reading()

"""The server's side of a socket: uvicorn's on the ``websockets`` library, with bounds on who sends or reads nothing."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from starlette.types import Scope
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

CLOSE_SECONDS = 5.0  # for what was written to be taken, and the close to be answered
PING_SECONDS = 30.0  # between two pings, and for the answer: below the idle limits of proxies
SOCKET_PATHS = frozenset({b"/v1/ws", b"/ws", b"/v1/graphql", b"/graphql"})
STRANGER_BYTES = 256 * 1024  # read of a client before it is known who it is
_TRUST = "forebay.trust"


def trust(scope: Scope) -> None:
    """From now on the socket's client may send messages of any size that is allowed: it is known who it is."""
    told: Callable[[], None] | None = scope.get(_TRUST)
    if told is not None:
        told()


class SocketProtocol(WebSocketsSansIOProtocol):
    """One socket. A close never waits for a client that takes nothing, and no log has the address it asked for.

    A stranger is read from no further than a first message needs, until the app trusts it or answers it.
    """

    logger = logging.getLogger("forebay.websocket")
    _heard_bytes = 0
    _is_trusted = False
    _is_held = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_trusted:
            return
        self._heard_bytes += len(data)
        if self._heard_bytes > STRANGER_BYTES and not self._is_held and not self.transport.is_closing():
            self._is_held = True
            self.transport.pause_reading()

    async def run_asgi(self) -> None:
        self.logger.setLevel(logging.WARNING)
        cast("dict[str, Any]", self.scope)[_TRUST] = self._trust
        await super().run_asgi()

    async def send(self, message: "ASGISendEvent") -> None:
        if message["type"] == "websocket.close":
            self.writable.set()  # it is written behind what the client has not taken yet
            self.loop.call_later(CLOSE_SECONDS, self.transport.abort)
        elif message["type"] == "websocket.send":
            self._trust()
        await super().send(message)

    def shutdown(self) -> None:
        super().shutdown()  # closes with 1012
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def _trust(self) -> None:
        self._is_trusted = True
        if self._is_held:
            self._is_held = False
            if not self.read_paused and not self.transport.is_closing():
                self.transport.resume_reading()

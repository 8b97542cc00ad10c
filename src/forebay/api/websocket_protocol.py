"""The server's side of a socket: uvicorn's on the ``websockets`` library, which ends a client that reads nothing."""

import logging
from typing import TYPE_CHECKING

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

CLOSE_SECONDS = 5.0  # for what was written to be taken, and the close to be answered
PING_SECONDS = 30.0  # between two pings, and for the answer: below the idle limits of proxies
SOCKET_PATHS = frozenset({b"/v1/ws", b"/ws", b"/v1/graphql", b"/graphql"})


class SocketProtocol(WebSocketsSansIOProtocol):
    """One socket. A close never waits for a client that takes nothing, and no log has the address it asked for."""

    logger = logging.getLogger("forebay.websocket")

    async def run_asgi(self) -> None:
        self.logger.setLevel(logging.WARNING)
        await super().run_asgi()

    async def send(self, message: "ASGISendEvent") -> None:
        if message["type"] == "websocket.close":
            self.writable.set()  # it is written behind what the client has not taken yet
            self.loop.call_later(CLOSE_SECONDS, self.transport.abort)
        await super().send(message)

    def shutdown(self) -> None:
        super().shutdown()  # closes with 1012
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

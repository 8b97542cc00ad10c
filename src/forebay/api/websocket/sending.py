"""What goes out on one socket: messages, in their order, to a client that must take them in time."""

import asyncio
from collections.abc import Mapping

import msgspec
from starlette.types import Send

from forebay.api.websocket.messages import Message

SLOW_SECONDS = 10.0  # within which a client takes what was sent before
GOING_AWAY = 1012  # the server restarts: come again. Source: IANA's registry of close codes
TRY_AGAIN_LATER = 1013
FAILED = 1011
UNAUTHENTICATED = 4401

_ENCODER = msgspec.json.Encoder()


class Closed(Exception):
    """The socket is closed, by whichever side: nothing more can be said."""


class Outgoing:
    """One socket's way out. What is kept for a client that does not read is one message and what the connection holds
    (64 KiB); after ``SLOW_SECONDS`` it is told so and closed.
    """

    __slots__ = ("_is_closed", "_send")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_closed = False

    async def tell(self, message: Message | Mapping[str, object]) -> None:
        """Sends one message. Raises: Closed."""
        if self._is_closed:
            raise Closed
        text = _ENCODER.encode(message).decode()
        try:
            async with asyncio.timeout(SLOW_SECONDS):
                await self._send({"type": "websocket.send", "text": text})
        except TimeoutError:
            await self.close(TRY_AGAIN_LATER, "You read too slowly: connect again and watch your jobs")
            raise Closed from None
        except OSError:  # the client has gone
            self._is_closed = True
            raise Closed from None

    async def close(self, code: int, reason: str) -> None:
        """Closes the socket, once; the client is told why behind what was sent before."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except OSError:
            return

    def end(self) -> None:
        """Notes that the other side has closed."""
        self._is_closed = True

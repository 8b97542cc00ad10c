"""One WebSocket to a server, as light as a client can be: so that the bench measures the server."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

HEAD_END = b"\r\n\r\n"
SWITCHING = b"HTTP/1.1 101"
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
LONG, LONGER = 126, 127  # what stands for a length of two bytes, and of eight
NO_MASK = b"\0\0\0\0"  # a mask that changes nothing: the server unmasks all the same


class SocketWire:
    """Sends and receives whole messages. Source: RFC 6455"""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, text: bytes, opcode: int = TEXT) -> None:
        """Sends one message."""
        size = len(text)
        head = bytes([0x80 | opcode])
        if size < LONG:
            head += bytes([0x80 | size])
        elif size < 1 << 16:
            head += bytes([0x80 | LONG]) + size.to_bytes(2, "big")
        else:
            head += bytes([0x80 | LONGER]) + size.to_bytes(8, "big")
        self._writer.write(head + NO_MASK + text)

    async def receive(self) -> bytes:
        """Returns the next message; pings are answered. Raises: RuntimeError: the server has closed."""
        while True:
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size >= LONG:
                size = int.from_bytes(await self._reader.readexactly(2 if size == LONG else 8), "big")
            text = await self._reader.readexactly(size)
            match first & 0x0F:
                case 0x1:
                    return text
                case 0x9:
                    self.send(text, PONG)
                case 0x8:
                    raise RuntimeError(f"the server closed a socket: {int.from_bytes(text[:2], 'big')} {text[2:]!r}")


@asynccontextmanager
async def socket_wire(address: str) -> AsyncIterator[SocketWire]:
    """Opens ``/v1/ws`` of ``http://host:port``."""
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    key = base64.b64encode(os.urandom(16)).decode()
    head = f"GET /v1/ws HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    try:
        answer = await reader.readuntil(HEAD_END)
        if not answer.startswith(SWITCHING):
            raise RuntimeError(f"no socket was opened: {answer[:100]!r}")
        yield SocketWire(reader, writer)
    finally:
        writer.close()

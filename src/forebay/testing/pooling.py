"""A pooler of PostgreSQL's connections in transaction mode, as PgBouncer is: the next transaction of a client gets
another server than its last one, so that whatever is left in a session is missed at once.
"""

import asyncio
import struct
from collections import deque
from contextlib import suppress
from typing import Any, NamedTuple

# Source: https://www.postgresql.org/docs/15/protocol-message-formats.html
SSL_REQUEST, PROTOCOL_3 = 80877103, 196608
KNOWN_PARAMETERS = frozenset({"user", "database", "client_encoding", "application_name", "options"})
READY, TERMINATE, PARAMETER, ERROR = b"Z", b"X", b"S", b"E"
IDLE = b"I"


class _Server(NamedTuple):
    """A connection to PostgreSQL."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class TransactionPooler:
    """Before one database of a server on this machine that trusts everyone; ``async with`` opens it."""

    def __init__(self, port: int, *, user: str, database: str, size: int = 8) -> None:
        self._upstream, self._user, self._database, self._size = port, user, database, size
        self._idle: deque[_Server] = deque()
        self._free = asyncio.Semaphore(size)
        self._greeting: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> "TransactionPooler":
        for _ in range(self._size):
            self._idle.append(await self._connect())
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._idle:
            await _break_off(server.writer)

    async def _connect(self) -> _Server:
        server = _Server(*await asyncio.open_connection("127.0.0.1", self._upstream))
        try:
            await self._start(server)
        except BaseException:
            await _break_off(server.writer)
            raise
        return server

    async def _start(self, server: _Server) -> None:
        words = "\0".join(["user", self._user, "database", self._database, "client_encoding", "UTF8", "", ""])
        server.writer.write(struct.pack("!ii", len(words) + 8, PROTOCOL_3) + words.encode())
        greeting: list[bytes] = []
        kind = b""
        while kind != READY:
            kind, message = await _read(server.reader)
            if kind == PARAMETER:
                greeting.append(message)
            if kind == ERROR:
                raise RuntimeError(f"PostgreSQL refuses the pooler: {message!r}")
        self._greeting = greeting

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if await self._greet(reader, writer):
                    await self._serve(reader, writer)
        finally:
            await _break_off(writer)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        size, code = struct.unpack("!ii", await reader.readexactly(8))
        while code == SSL_REQUEST:
            writer.write(b"N")
            size, code = struct.unpack("!ii", await reader.readexactly(8))
        words = (await reader.readexactly(size - 8)).decode().split("\0")
        unknown = sorted(set(words[:-2:2]) - KNOWN_PARAMETERS)
        if unknown:
            fields = f"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {unknown[0]}\0\0".encode()
            writer.write(ERROR + struct.pack("!i", len(fields) + 4) + fields)
            await writer.drain()
            return False
        writer.write(b"R" + struct.pack("!ii", 8, 0) + b"".join(self._greeting))
        writer.write(b"K" + struct.pack("!iii", 12, 1, 1) + READY + struct.pack("!i", 5) + IDLE)
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One transaction after the other. A message that is half read when one ends belongs to the next."""
        reading = asyncio.create_task(_read(reader))
        try:
            while (await reading)[0] != TERMINATE:
                async with self._free:
                    server = self._idle.popleft()
                    try:
                        reading = await _transact(server, reader, writer, reading)
                    except BaseException:
                        await _break_off(server.writer)  # its client went away within a transaction
                        self._idle.append(await self._connect())
                        raise
                    self._idle.append(server)
        finally:
            _forget(reading)


async def _transact(
    server: _Server,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    reading: "asyncio.Task[tuple[bytes, bytes]]",
) -> "asyncio.Task[tuple[bytes, bytes]]":
    """Forwards in both directions until the server stands outside of a transaction; returns the reading under way."""
    answering = asyncio.create_task(_answer(server, writer))
    try:
        while not answering.done():
            if reading.done():
                kind, message = await reading
                if kind == TERMINATE:
                    raise asyncio.IncompleteReadError(b"", None)
                server.writer.write(message)
                reading = asyncio.create_task(_read(reader))
            await asyncio.wait({answering, reading}, return_when=asyncio.FIRST_COMPLETED)
        await answering
    except BaseException:
        _forget(reading)
        raise
    finally:
        _forget(answering)
    return reading


async def _answer(server: _Server, writer: asyncio.StreamWriter) -> None:
    """Hands on what the server says, until it is ready outside of a transaction."""
    while True:
        kind, reply = await _read(server.reader)
        writer.write(reply)
        await writer.drain()
        if kind == READY and reply[-1:] == IDLE:
            return


def _forget(task: "asyncio.Task[Any]") -> None:
    """Nobody waits for it any more: it ends, and what it ended by is no news."""
    task.cancel()
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def _break_off(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A message's kind, and the message whole."""
    head = await reader.readexactly(5)
    [size] = struct.unpack("!i", head[1:])
    return head[:1], head + await reader.readexactly(size - 4)

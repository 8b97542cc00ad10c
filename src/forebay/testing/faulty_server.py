"""A server that misbehaves on demand, below the level of HTTP: for tests of clients, targets and what stands on them.

It speaks raw TCP or TLS, so that it can lie about lengths, stop in the middle, answer twice or not at all. What it
does comes from ``Behaviour``s: those that are queued by ``misbehave``, one a request, then ``well`` for ever.
``forebay.testing.wire_faults`` has the usual ones.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

READ_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends RST in place of FIN


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came. Header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def job_id(self) -> str:
        return self.headers.get("x-forebay-job-id", "")


class Exchange:
    """One connection, in the hands of a behaviour. ``request`` is None for behaviours that read none."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.request: Received | None = None

    async def send(self, *pieces: bytes) -> None:
        """Sends each piece by itself."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    def end_writing(self) -> None:
        """Closes our half of the connection; the other one still takes what the client sends."""
        if self._writer.can_write_eof():
            self._writer.write_eof()

    def reset(self) -> None:
        """Ends the connection by RST: the client loses what it has not read."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()

    async def until_gone(self) -> None:
        """Returns when the client has closed its half."""
        while await self._reader.read(READ_BYTES):
            pass

    def stop_reading(self) -> None:
        """Takes nothing more from the client: its writes fill the buffers between us and then stand still."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()

    async def receive(self) -> Received | None:
        """Reads a request with a ``Content-Length``; None when the client has closed the connection."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.split("\r\n")[:-2]
        method, path, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Received(method, path, headers, body)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the server does with one request. Afterwards the connection is closed, unless it ``is_kept``.

    ``is_deaf``: it acts as soon as a connection is made, before anything was read.
    """

    act: Callable[[Exchange], Awaitable[None]]
    is_kept: bool = False
    is_deaf: bool = False


class FaultyServer:
    """``async with`` serves on a free port of 127.0.0.1. ``stop`` and ``start`` make it a server that restarts."""

    def __init__(self, well: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self._well = well
        self._tls = tls
        self._script: deque[Behaviour] = deque()
        self.requests: list[Received] = []  # that were read, in order
        self.connections = 0  # that were ever made
        self._open: dict[asyncio.Task[None], Exchange] = {}
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def origin(self) -> str:
        """Its address without a path."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def calls(self, job_id: str) -> int:
        """How many requests named this job."""
        return sum(request.job_id == job_id for request in self.requests)

    def misbehave(self, *behaviours: Behaviour) -> None:
        """Queues what is done with the next requests."""
        self._script.extend(behaviours)

    def behave(self) -> None:
        """Forgets what is queued."""
        self._script.clear()

    async def start(self) -> None:
        """Listens; again on the port that it had."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self._port, ssl=self._tls, reuse_address=True, backlog=4096
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listens no more and resets every connection, as a process that is killed does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._open)
        for exchange in self._open.values():
            with contextlib.suppress(OSError):
                exchange.reset()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> "FaultyServer":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        exchange = Exchange(reader, writer)
        self._open[task] = exchange
        self.connections += 1
        try:
            await self._converse(exchange)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # the client went away in the middle, or we were stopped: both are what this server is for
        finally:
            del self._open[task]
            writer.close()

    async def _converse(self, exchange: Exchange) -> None:
        if self._script and self._script[0].is_deaf:
            await self._script.popleft().act(exchange)
            return
        is_kept = True
        while is_kept:
            exchange.request = await exchange.receive()
            if exchange.request is None:
                return
            self.requests.append(exchange.request)
            behaviour = self._script.popleft() if self._script else self._well
            await behaviour.act(exchange)
            is_kept = behaviour.is_kept

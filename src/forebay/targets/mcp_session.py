"""The session of one ``mcp`` target: kept open, shared by all its calls, opened again when it is broken.

The client package ties a session to the task that opened it: a task of our own holds it. A server that is a command is
a child of this process, which ends with it; what it says on stderr goes into our log.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from importlib.metadata import version
from typing import Any, TextIO

import httpx2
import structlog
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation
from pydantic import ValidationError

from forebay.domain.errors import TargetUnavailable
from forebay.domain.target import TargetSpec
from forebay.targets.failures import check_status
from forebay.targets.http import Response
from forebay.targets.mcp_http import SEEN, Seen, open_client

log = structlog.get_logger(__name__)
OPENING_SECONDS = 120.0  # a program may have to be fetched first; a handshake that hangs must not hang for ever
CLOSING_SECONDS = 10.0  # a child has 2 s to leave by itself, and as long after SIGTERM
LONGEST_LINE = 1000  # characters of a child's line in our log
LONGEST_REASON = 200  # of the last one of a child that does not start
LEAST_ERROR = 400  # of statuses
SHORTEST_SECRET = 6  # characters: shorter values of `env` are switches
#: What opening a session may raise: the transports raise groups, the handshake its own errors.
_FAILED = (OSError, MCPError, httpx2.HTTPError, ValidationError, RuntimeError, ValueError, TimeoutError, ExceptionGroup)


class McpSession:
    """Opens the session with the first call; ``client`` is asked before each."""

    def __init__(self, spec: TargetSpec, headers: dict[str, str]) -> None:
        self._spec = spec
        self._headers = headers
        self._opening = asyncio.Lock()
        self._kept: _Kept | None = None
        self._ending: set[_Kept] = set()

    async def client(self) -> Client:
        """The open session. Raises: a TargetError: it can't be opened."""
        async with self._opening:
            self._ending = {kept for kept in self._ending if not kept.has_ended}
            if self._kept is None or self._kept.is_over:
                self._kept = _Kept(self._spec, self._headers)
            kept = self._kept
        return await kept.opened()

    def drop(self, client: Client) -> None:
        """The session is broken: the next call opens another one. Calls that are in it end."""
        if self._kept is not None and self._kept.has(client):
            self.restart()

    def restart(self) -> None:
        """The same, of whatever session there is."""
        if self._kept is not None:
            self._kept.end()
            self._ending.add(self._kept)
            self._kept = None

    async def close(self) -> None:
        """Ends the session, and its child."""
        if self._kept is not None:
            self._ending.add(self._kept)
        self._kept = None
        await asyncio.gather(*(kept.closed() for kept in self._ending))
        self._ending.clear()


class _Kept:
    """One session and the task that holds it."""

    def __init__(self, spec: TargetSpec, headers: dict[str, str]) -> None:
        self._spec = spec
        self._headers = headers
        self._stop = asyncio.Event()
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._seen = Seen()
        self._said: list[str] = []  # the last line of a child
        self._task = asyncio.create_task(self._hold(), name=f"mcp-{spec.name}")

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    @property
    def is_over(self) -> bool:
        return self.has_ended or self._stop.is_set()

    def has(self, client: Client) -> bool:
        return self._ready.done() and not self._ready.cancelled() and self._ready.result() is client

    async def opened(self) -> Client:
        """Waits for the handshake. Whoever gives up waiting does not end it for the others.

        Raises: TargetUnavailable, or what the server's status means.
        """
        either: set[asyncio.Future[Any]] = {self._ready, self._task}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            return self._ready.result()
        why, seen = "it was closed" if self._task.cancelled() else self._task.result(), self._seen
        if seen.error is None and seen.status is not None and seen.status >= LEAST_ERROR:
            check_status(Response(status=seen.status, headers=seen.headers, body=b""), self._spec.name)
        raise TargetUnavailable(f"target {self._spec.name!r}: the MCP server can't be reached: {why}")

    def end(self) -> None:
        self._stop.set()

    async def closed(self) -> None:
        self.end()
        _, late = await asyncio.wait({self._task}, timeout=CLOSING_SECONDS)
        for task in late:
            task.cancel()
            await asyncio.wait({task}, timeout=CLOSING_SECONDS)

    async def _hold(self) -> str:
        """Keeps the session until it is asked to stop, or breaks. Returns why it is not open any more."""
        SEEN.set(self._seen)
        spec = self._spec
        transport = _child(spec, self._said) if spec.command else _remote(spec, self._headers)
        client = Client(transport, client_info=Implementation(name="forebay", version=version("forebay")), cache=None)
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(OPENING_SECONDS):
                    await stack.enter_async_context(client)
                self._ready.set_result(client)
                await self._stop.wait()
        except _FAILED as exc:
            why = self._why(exc)
            log.info("mcp_session_broken", target=spec.name, reason=why)
            return why
        return "it was closed"

    def _why(self, exc: BaseException) -> str:
        """In words without a secret: a command's arguments and a URL's query may hold one."""
        while isinstance(exc, BaseExceptionGroup):
            exc = exc.exceptions[0]
        if self._seen.error is not None:
            return self._seen.error
        if self._said and not self._ready.done():
            return f"it said: {self._said[0]}"
        if self._seen.status is not None and self._seen.status >= LEAST_ERROR:
            return f"it answered {self._seen.status}"
        match exc:
            case MCPError():
                return redacted(exc.message, secrets_of(self._spec))
            case OSError() if exc.strerror:
                return exc.strerror
            case TimeoutError():
                return f"no handshake within {OPENING_SECONDS:g} s"
            case _:
                return type(exc).__name__


@contextlib.asynccontextmanager
async def _remote(spec: TargetSpec, headers: dict[str, str]) -> AsyncIterator[Any]:
    async with (
        open_client(spec.url or "", headers) as http,
        streamable_http_client(spec.url or "", http_client=http) as streams,
    ):
        yield streams


@contextlib.asynccontextmanager
async def _child(spec: TargetSpec, said: list[str]) -> AsyncIterator[Any]:
    """The command, with the environment that it was given and the little that every program needs, none of ours."""
    parameters = StdioServerParameters(command=spec.command or "", args=list(spec.args), env=dict(spec.env))
    reader, writer = os.pipe()
    following = asyncio.create_task(_follow(reader, spec, said), name=f"mcp-stderr-{spec.name}")
    try:
        errors: TextIO = os.fdopen(writer, "w")
        async with contextlib.AsyncExitStack() as stack:
            try:
                streams = await stack.enter_async_context(stdio_client(parameters, errlog=errors))
            finally:
                errors.close()  # the child has its own: the pipe ends with it
            yield streams
    finally:
        await asyncio.wait({following}, timeout=CLOSING_SECONDS)
        following.cancel()


async def _follow(descriptor: int, spec: TargetSpec, said: list[str]) -> None:
    """Logs what the child says, line by line; ``said`` has the last of them."""
    stream = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), pipe
    )
    secrets = secrets_of(spec)
    try:
        while piece := await _line(stream):
            line = redacted(piece.decode(errors="replace").rstrip(), secrets)
            log.debug("mcp_server_said", target=spec.name, line=line[:LONGEST_LINE])
            if line.strip():
                said[:] = [line.strip()[:LONGEST_REASON]]
    finally:
        transport.close()


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or what there is of one that is longer than any should be; nothing at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as exc:
        return exc.partial
    except asyncio.LimitOverrunError as exc:
        return await stream.readexactly(exc.consumed)


def secrets_of(spec: TargetSpec) -> list[str]:
    """What must stand in no log: longest first, as one may be a part of another."""
    known = [spec.api_key or "", *spec.headers.values(), *spec.env.values()]
    return sorted((value for value in known if len(value) >= SHORTEST_SECRET), key=len, reverse=True)


def redacted(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[set]")
    return text

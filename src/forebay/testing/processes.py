"""Real processes of ``forebay`` for acceptance tests and the soak: to be killed, stopped and drained at any moment.

They are forked by a nursery (``forebay.testing.nursery``), or with ``is_fresh`` made as a shell would.
"""

import asyncio
import atexit
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import msgspec

from forebay.testing.nursery import LARGEST_MESSAGE, Birth, Life, send_birth

LONGEST_SECONDS = 300  # of any wait: what comes at all comes sooner, on the slowest and busiest machine
ADDRESS = re.compile(r"http://[\w.:\-]+")
WORKER = re.compile(r"worker_\w+(?= serves)")
AT_ONCE = re.compile("")
COMMAND = "forebay.__main__"
ENDED_UNSEEN = -1  # the nursery is gone


class Process(Protocol):
    """What a test does to a process: asyncio's own has it, and so has a nursery's child."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


class Running:
    """A started process, and what it said as it was ready: its address, or a worker's id."""

    def __init__(self, process: Process, address: str, log: list[str], follower: "asyncio.Task[None]") -> None:
        self.process = process
        self.address = address
        self.log = log
        self._follower = follower

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, if the process is still there."""
        if self.is_alive:
            self.process.send_signal(number)

    async def ended(self) -> int:
        """Waits for the end. Returns the exit code; below 0, the signal that ended it."""
        return await asyncio.wait_for(self.process.wait(), LONGEST_SECONDS)

    async def said(self) -> list[str]:
        """Waits for the end of all output, and returns its lines."""
        await asyncio.wait_for(asyncio.shield(self._follower), LONGEST_SECONDS)
        return self.log

    async def kill(self) -> None:
        """``kill -9``: no handler runs, nothing is flushed."""
        if self.is_alive:
            self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM. Returns the exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()


class Child:
    """A process that the nursery made."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.pid = 0
        self.returncode: int | None = None
        self._born: asyncio.Future[None] = loop.create_future()
        self._ended = asyncio.Event()

    async def born(self) -> None:
        await self._born

    def send_signal(self, number: int, /) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def tell(self, life: Life) -> None:
        """Any thread."""
        with contextlib.suppress(RuntimeError):  # that test's loop is closed
            self._loop.call_soon_threadsafe(self._take, life)

    def _take(self, life: Life) -> None:
        self.pid = life.pid
        if life.code is not None:
            self.returncode = life.code
            self._ended.set()
        if not self._born.done():
            self._born.set_result(None)


class Nurse:
    """The nursery's other end; one for all loops of this process."""

    def __init__(self) -> None:
        self._wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._nursery = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "forebay.testing.nursery", str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        self._lock = threading.Lock()
        self._expected: deque[Child] = deque()
        self._living: dict[int, Child] = {}
        self._thread = threading.Thread(target=self._listen, name="nurse", daemon=True)
        self._thread.start()
        atexit.register(self._close)

    def bear(self, birth: Birth, output: int) -> Child:
        """Asks for a child; it is there when ``born`` returns."""
        child = Child(asyncio.get_running_loop())
        with self._lock:
            self._expected.append(child)
            send_birth(self._wire, birth, output)
        return child

    def _listen(self) -> None:
        while message := self._heard():
            life = msgspec.json.decode(message, type=Life)
            with self._lock:
                if life.code is None:
                    self._living[life.pid] = child = self._expected.popleft()
                else:
                    child = self._living.pop(life.pid)
            child.tell(life)
        for child in [*self._living.values(), *self._expected]:
            child.tell(Life(pid=child.pid, code=ENDED_UNSEEN))

    def _heard(self) -> bytes:
        try:
            return self._wire.recv(LARGEST_MESSAGE)
        except ConnectionResetError:  # it could not even be imported; it has said why
            return b""

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._wire.close()
        self._nursery.wait()


async def start(
    *arguments: str,
    folder: Path,
    ready: re.Pattern[str] = ADDRESS,
    module: str = COMMAND,
    is_fresh: bool = False,
    **environment: str,
) -> Running:
    """Starts ``forebay …`` and waits until it says what ``ready`` finds: where it listens.

    ``module``: what is run instead, which takes the arguments. ``environment`` is added to ours.
    """
    whole = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    birth = Birth(module=module, arguments=list(arguments), folder=str(folder), environment=whole)
    reader, writer = os.pipe()
    try:
        process = await _made(birth, writer, is_fresh=is_fresh)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    log: list[str] = []
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    follower = asyncio.create_task(_follow(reader, log, found, ready))
    if ready is AT_ONCE:
        found.set_result("")
    try:
        address = await asyncio.wait_for(found, LONGEST_SECONDS)
    except BaseException:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
    return Running(process, address, log, follower)


async def start_worker(*arguments: str, folder: Path, **options: Any) -> Running:
    """Starts ``forebay worker`` (unless the arguments name it) and waits until it serves."""
    named = arguments if "worker" in arguments else ("worker", *arguments)
    return await start(*named, folder=folder, ready=WORKER, **options)


@asynccontextmanager
async def started(*arguments: str, folder: Path, **options: Any) -> AsyncIterator[Running]:
    """Starts it, and kills it at the end if it still runs."""
    running = await start(*arguments, folder=folder, **options)
    try:
        yield running
    finally:
        await running.kill()


@asynccontextmanager
async def started_worker(*arguments: str, folder: Path, **options: Any) -> AsyncIterator[Running]:
    """Likewise, a worker alone."""
    running = await start_worker(*arguments, folder=folder, **options)
    try:
        yield running
    finally:
        await running.kill()


@cache
def _nurse() -> Nurse:
    return Nurse()


async def _made(birth: Birth, output: int, *, is_fresh: bool) -> Process:
    if is_fresh:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            birth.module.removesuffix(".__main__"),
            *birth.arguments,
            cwd=birth.folder,
            env=birth.environment,
            stdout=output,
            stderr=output,
        )
    child = _nurse().bear(birth, output)
    await child.born()
    return child


async def _follow(reader: int, log: list[str], found: "asyncio.Future[str]", ready: re.Pattern[str]) -> None:
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reader, "rb", buffering=0)
    )
    try:
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            log.append(line)
            if not found.done() and (said := ready.search(line)):
                found.set_result(said.group().rstrip("."))
        if not found.done():
            found.set_exception(RuntimeError("it ended before it was ready: " + " | ".join(log[-10:])))
    finally:
        transport.close()

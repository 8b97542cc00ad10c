"""Real processes of ``forebay`` for acceptance tests and the soak: to be killed, stopped and drained at any moment."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

START_SECONDS = 60
END_SECONDS = 60
ADDRESS = re.compile(r"http://[\w.:\-]+")
WORKER = re.compile(r"worker_\w+(?= serves)")


class Running:
    """A started process, and what it said as it was ready: its address, or a worker's id."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, log: list[str]) -> None:
        self.process = process
        self.address = address
        self.log = log

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, if the process is still there."""
        if self.is_alive:
            self.process.send_signal(number)

    async def ended(self) -> int:
        """Waits for the end. Returns the exit code; below 0, the signal that ended it."""
        return await asyncio.wait_for(self.process.wait(), END_SECONDS)

    async def kill(self) -> None:
        """``kill -9``: no handler runs, nothing is flushed."""
        if self.is_alive:
            self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM. Returns the exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()


async def start(*arguments: str, folder: Path, ready: re.Pattern[str] = ADDRESS) -> Running:
    """Starts ``forebay …`` and waits until it says what ``ready`` finds: where it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "forebay",
        *arguments,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    log: list[str] = []
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    follower = asyncio.create_task(_follow(process, log, found, ready))
    follower.add_done_callback(lambda _: None)
    try:
        address = await asyncio.wait_for(found, START_SECONDS)
    except BaseException:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
    return Running(process, address, log)


async def start_worker(*arguments: str, folder: Path) -> Running:
    """Starts ``forebay worker`` and waits until it serves."""
    return await start("worker", *arguments, folder=folder, ready=WORKER)


@asynccontextmanager
async def started(*arguments: str, folder: Path) -> AsyncIterator[Running]:
    """Starts it, and kills it at the end if it still runs."""
    running = await start(*arguments, folder=folder)
    try:
        yield running
    finally:
        await running.kill()


@asynccontextmanager
async def started_worker(*arguments: str, folder: Path) -> AsyncIterator[Running]:
    """Likewise, a worker alone."""
    running = await start_worker(*arguments, folder=folder)
    try:
        yield running
    finally:
        await running.kill()


async def _follow(
    process: asyncio.subprocess.Process, log: list[str], found: "asyncio.Future[str]", ready: re.Pattern[str]
) -> None:
    assert process.stdout is not None
    async for raw in process.stdout:
        line = raw.decode(errors="replace").rstrip()
        log.append(line)
        if not found.done() and (said := ready.search(line)):
            found.set_result(said.group().rstrip("."))
    if not found.done():
        found.set_exception(RuntimeError("it ended before it was ready: " + " | ".join(log[-10:])))

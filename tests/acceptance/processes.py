"""Real processes for acceptance tests: a mock model and a server, to be killed at any moment."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

START_SECONDS = 60
ADDRESS = re.compile(r"http://[\w.:\-]+")


class Running:
    """A started process and its address."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, log: list[str]) -> None:
        self.process = process
        self.address = address
        self.log = log

    async def kill(self) -> None:
        """``kill -9``: no handler runs, nothing is flushed."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM. Returns the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


async def start(*arguments: str, folder: Path) -> Running:
    """Starts ``forebay …`` and waits until it says where it listens."""
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
    follower = asyncio.create_task(_follow(process, log, found))
    follower.add_done_callback(lambda _: None)
    try:
        address = await asyncio.wait_for(found, START_SECONDS)
    except BaseException:
        process.kill()
        raise
    return Running(process, address, log)


@asynccontextmanager
async def started(*arguments: str, folder: Path) -> AsyncIterator[Running]:
    """Starts it, and kills it at the end if it still runs."""
    running = await start(*arguments, folder=folder)
    try:
        yield running
    finally:
        await running.kill()


async def _follow(process: asyncio.subprocess.Process, log: list[str], found: "asyncio.Future[str]") -> None:
    assert process.stdout is not None
    async for raw in process.stdout:
        line = raw.decode(errors="replace").rstrip()
        log.append(line)
        if not found.done() and (address := ADDRESS.search(line)):
            found.set_result(address.group().rstrip("."))
    if not found.done():
        found.set_exception(RuntimeError("it ended before it listened: " + " | ".join(log[-10:])))

"""Child processes of a bench: mock model, server and workers each in a process of its own, so that none is the limit
of another, and so that each one's CPU and memory can be told.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

START_SECONDS = 60.0
STOP_SECONDS = 40.0
HEARD_LINES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process that is ready. ``address``: where it listens, '' for a worker."""

    pid: int
    address: str


@asynccontextmanager
async def forebay_child(*arguments: str, ready: str) -> AsyncIterator[Child]:
    """Runs ``forebay …`` until the block ends."""
    async with child(sys.executable, "-m", "forebay", *arguments, ready=ready) as running:
        yield running


@asynccontextmanager
async def child(*command: str, ready: str) -> AsyncIterator[Child]:
    """Runs the command until the block ends; it is ready once a line of its output has ``ready``.

    Raises: RuntimeError: it ended before.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    reader: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(START_SECONDS):
            address = await _address(process, ready)
        reader = asyncio.create_task(_drain(process), name="output of a child")
        yield Child(pid=process.pid, address=address)
    finally:
        await _end(process)
        if reader is not None:
            await reader


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _address(process: asyncio.subprocess.Process, ready: str) -> str:
    if process.stdout is None:
        raise RuntimeError("the child has no output to read")
    heard: list[str] = []
    async for line in process.stdout:
        text = line.decode(errors="replace").strip()
        heard.append(text)
        if ready in text:
            return next((word.rstrip(".,;") for word in text.split() if word.startswith("http")), "")
    raise RuntimeError("the child ended before it was ready: " + " | ".join(heard[-HEARD_LINES:]))


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Reads on: a child whose pipe is full would stand still."""
    if process.stdout is not None:
        async for _ in process.stdout:
            pass

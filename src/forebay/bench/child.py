"""Child processes of a bench: mock model and server each in a process of its own, so that neither is the limit."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@asynccontextmanager
async def forebay_child(*arguments: str, ready: str) -> AsyncIterator[str]:
    """Runs ``forebay …`` and yields the word after ``ready`` in its output: the address it listens on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "forebay",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            address = await _address(process, ready)
        yield address
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.communicate(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process, ready: str) -> str:
    if process.stdout is None:
        raise RuntimeError("the child has no output to read")
    heard: list[str] = []
    async for line in process.stdout:
        text = line.decode(errors="replace").strip()
        heard.append(text)
        if ready in text:
            return next(word for word in text.split() if word.startswith("http")).rstrip(".,;")
    raise RuntimeError("the child ended before it was ready: " + " | ".join(heard[-5:]))

"""The mock model of a bench: compiled from C at the moment, or, without a compiler, `forebay mock-model`."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import as_file, files
from pathlib import Path

from forebay.bench.child import Child, child, forebay_child
from forebay.domain.record import Record

COMPILERS = ("cc", "gcc", "clang")
READY = "mock model at"
MICROSECONDS_A_MILLISECOND = 1000


class Program(Record, frozen=True, kw_only=True):
    """What serves as the mock. ``path`` None: the raw asyncio mock, which takes about 30 µs of CPU a call."""

    path: Path | None

    @property
    def description(self) -> str:
        return "C, compiled at the moment" if self.path else "raw asyncio (there is no C compiler here)"


async def compiled(folder: Path) -> Program:
    """Compiles the mock into the folder, if this machine can."""
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        return Program(path=None)
    program = folder / "mock"
    with as_file(files("forebay.bench") / "mock.c") as source:
        process = await asyncio.create_subprocess_exec(
            compiler,
            "-O2",
            str(source),
            "-o",
            str(program),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,  # another system's compiler: it has no epoll
        )
        is_made = await process.wait() == 0
    return Program(path=program if is_made else None)


@asynccontextmanager
async def mock_model(program: Program, latency_ms: float) -> AsyncIterator[Child]:
    """Runs it in a process of its own. ``address`` ends in ``/v1``."""
    if program.path is not None:
        latency = str(round(latency_ms * MICROSECONDS_A_MILLISECOND))
        async with child(str(program.path), latency, ready=READY) as running:
            yield running
        return
    async with forebay_child("mock-model", "--port", "0", "--latency-ms", str(latency_ms), ready=READY) as running:
        yield running

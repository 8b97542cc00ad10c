"""Worker processes of `forebay serve --workers N`: started, restarted when they die, drained at the end."""

import asyncio
import contextlib
import random
import sys
from collections.abc import Sequence
from types import TracebackType

import structlog

log = structlog.get_logger(__name__)
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_AFTER_CRASH_SECONDS = 2.0
ORDINARY_EXITS = frozenset({0, 1, 2})  # of a start that fails, by configuration or store; others a job may have caused
STEADY_SECONDS = 60.0  # a worker that lived so long did not die of its start
STOP_SECONDS = 45.0  # a drain, and a little


class WorkerGuard:
    """``async with`` keeps ``count`` processes of ``forebay worker`` alive; leaving sends SIGTERM and waits."""

    def __init__(self, count: int, arguments: Sequence[str]) -> None:
        self._count = count
        self._arguments = arguments
        self._guards: list[asyncio.Task[None]] = []
        self._processes: set[asyncio.subprocess.Process] = set()
        self._is_stopping = False

    async def __aenter__(self) -> "WorkerGuard":
        self._guards = [asyncio.create_task(self._guard(place), name=f"guard-{place}") for place in range(self._count)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()

    async def drain(self) -> None:
        """Sends SIGTERM and waits for their ends. Idempotent."""
        self._is_stopping = True
        for guard in self._guards:
            guard.cancel()
        await asyncio.gather(*self._guards, return_exceptions=True)

    def kill(self) -> None:
        """Ends them at once."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _guard(self, place: int) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while not self._is_stopping:
            started_at = loop.time()
            code = await self._run_once()
            if loop.time() - started_at >= STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            elif code not in ORDINARY_EXITS:
                pause = min(pause, LONGEST_AFTER_CRASH_SECONDS)
            log.warning("worker_process_ended", place=place, exit_code=code, restart_in_seconds=pause)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _run_once(self) -> int:
        # A session of its own: Ctrl-C on the terminal reaches the server alone, which then drains them. The pipe tells
        # a worker that the server was killed.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "forebay",
            "worker",
            "--guarded",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._processes.add(process)
        try:
            return await process.wait()
        finally:
            await _stop(process)
            self._processes.discard(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

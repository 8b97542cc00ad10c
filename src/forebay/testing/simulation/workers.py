"""The engine's worker without threads: its heartbeat is a strand of its simulated process."""

import asyncio
import contextlib
from typing import cast

import msgspec

from forebay.engine.heartbeat import CLOSE_SECONDS, STILL_LEASES, Heartbeat
from forebay.engine.services import Services
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.testing.simulation.processes import Process, current


class StrandHeartbeat(Heartbeat):
    """Beats in the process's heartbeat strand, and ends the process where the real one would."""

    def start(self) -> None:
        self._process = current()
        # All that a heartbeat wants of the worker's loop is to be heard in its thread.
        self._loop = cast(asyncio.AbstractEventLoop, self._process.main)
        self._closing = asyncio.Event()
        self._beating = self._process.heart.create_task(self._beat_for_ever(), "heartbeat")

    async def close(self) -> None:
        self._closing.set()
        await asyncio.wait([self._beating], timeout=CLOSE_SECONDS)

    async def _beat_for_ever(self) -> None:
        while not self._closing.is_set():
            await self.beat()
            self._watch_loop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.pause_seconds):
                    await self._closing.wait()

    def _watch_loop(self) -> None:
        self._missed += 1
        self._loop.call_soon_threadsafe(self._moved)
        if self._missed * self.pause_seconds > STILL_LEASES * self._worker.lease_seconds:
            self._process.kill()


class SimulatedWorker(WorkerProcess):
    """A WorkerProcess that says it is its simulated process."""

    heartbeat = StrandHeartbeat

    def __init__(self, services: Services, options: WorkerOptions, process: Process) -> None:
        super().__init__(services, options)
        self.worker = msgspec.structs.replace(
            self.worker, host=process.host, pid=process.number, pid_started=process.name
        )

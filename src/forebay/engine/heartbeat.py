"""Heartbeat: renews a worker's leases from a thread of its own, so that a blocked event loop loses none of them."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable

import msgspec
import structlog

from forebay.domain.change import Renewal, Worker
from forebay.domain.errors import StoreUnavailable
from forebay.ports import JobStore

log = structlog.get_logger(__name__)
BEATS_PER_LEASE = 3
LONGEST_PAUSE_SECONDS = 2.0  # a cancelled call is broken off at the next beat
STILL_LEASES = 3  # a loop that stood still for so many leases is taken for dead
EXIT_STILL = 70  # EX_SOFTWARE. Source: sysexits.h
CLOSE_SECONDS = 15.0  # for a beat under way; a store that is locked answers after its busy time-out


class Heartbeat:
    """Beats until stopped. ``on_renewal`` is called in the worker's own loop."""

    def __init__(self, jobs: JobStore, worker: Worker, on_renewal: Callable[[Renewal], None]) -> None:
        self._jobs = jobs
        self._worker = worker
        self._on_renewal = on_renewal
        self._loop = asyncio.get_running_loop()
        self._halt = threading.Event()
        self._missed = 0
        self._thread = threading.Thread(target=self._main, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def close(self) -> None:
        """Stops the beat; the leases then run out unless they were handed back."""
        self._halt.set()
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)

    @property
    def pause_seconds(self) -> float:
        return min(self._worker.lease_seconds / BEATS_PER_LEASE, LONGEST_PAUSE_SECONDS)

    def _main(self) -> None:
        with asyncio.Runner() as runner:
            while not self._halt.is_set():
                runner.run(self.beat())
                self._watch_loop()
                self._halt.wait(self.pause_seconds)

    async def beat(self) -> None:
        """Renews once. Of an ended epoch: tells the worker, and registers the new one at once, because a worker that
        is taken for dead would lose what it claims next to any sweep.
        """
        try:
            renewal = await self._jobs.renew(self._worker)
            self._tell(renewal)
            if not renewal.is_alive:
                self._worker = msgspec.structs.replace(self._worker, epoch=renewal.epoch)
                self._tell(await self._jobs.renew(self._worker))
        except StoreUnavailable as unavailable:
            log.error("store_unavailable", verb="renew", reason=str(unavailable))  # noqa: TRY400
        except Exception:
            log.exception("heartbeat_failed")  # a thread that died of it would end every lease

    def _tell(self, renewal: Renewal) -> None:
        with contextlib.suppress(RuntimeError):  # the worker's loop has closed
            self._loop.call_soon_threadsafe(self._on_renewal, renewal)

    def _watch_loop(self) -> None:
        """Ends a process whose loop stood still too long: its leases would live for ever and its jobs never end."""
        self._missed += 1
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._moved)
        if self._missed * self.pause_seconds > STILL_LEASES * self._worker.lease_seconds:
            sys.stderr.write("forebay: the event loop stands still; this worker ends so that others take its jobs\n")
            os._exit(EXIT_STILL)

    def _moved(self) -> None:
        self._missed = 0

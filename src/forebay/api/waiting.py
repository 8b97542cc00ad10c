"""Waiting: one watch of the store serves every request of this process that waits for a job."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Job, Status
from forebay.ports import JobStore, Watch

log = structlog.get_logger(__name__)
STORE_PAUSE_SECONDS = 0.5


class Waiting:
    """Hands the store's hints of a job to those who wait for it. ``close`` ends every wait at once."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._watch: Watch | None = None
        self._signals: dict[str, list[asyncio.Event]] = {}
        self.is_closing = False
        self.is_draining = False
        self._emptied = asyncio.Event()  # while it drains

    async def run(self) -> None:
        """Listens until cancelled."""
        while True:
            try:
                topics = await self._opened().next()
            except StoreUnavailable as unavailable:
                log.error("store_unavailable", verb="watch", reason=str(unavailable))  # noqa: TRY400 - no traceback
                await asyncio.sleep(STORE_PAUSE_SECONDS)
                continue
            except Exception:
                log.exception("watch_failed")  # those who wait still look by themselves, now and then
                await asyncio.sleep(STORE_PAUSE_SECONDS)
                continue
            for topic in topics:
                for signal in self._signals.get(topic, ()):
                    signal.set()

    @contextmanager
    def on(self, job_id: str) -> Iterator[asyncio.Event]:
        """Gives an event that is set whenever the job may have ended or its stream grown: read the store, then wait."""
        topic = f"job:{job_id}"
        signal = asyncio.Event()
        signals = self._signals.setdefault(topic, [])
        signals.append(signal)
        if len(signals) == 1:
            self._opened().add([topic])
        try:
            yield signal
        finally:
            signals.remove(signal)
            if not signals and self._signals.get(topic) is signals:
                del self._signals[topic]
                self._opened().discard([topic])
                self._tell_if_empty()

    def gives_up(self, job: Job) -> bool:
        """Whether nobody waits for this job any more: the server is going, or it drains and the job does not run."""
        return self.is_closing or (self.is_draining and job.status is not Status.RUNNING)

    def drain(self) -> None:
        """From now on only jobs that run are waited for."""
        self.is_draining = True
        self._tell_if_empty()
        self._wake()

    async def emptied(self) -> None:
        """Returns when it drains and nobody waits any more."""
        await self._emptied.wait()

    def close(self) -> None:
        """Wakes all who wait; from now on nobody waits."""
        self.is_closing = True
        self._wake()

    def _wake(self) -> None:
        for signals in self._signals.values():
            for signal in signals:
                signal.set()

    def _tell_if_empty(self) -> None:
        if self.is_draining and not self._signals:
            self._emptied.set()

    def _opened(self) -> Watch:
        if self._watch is None:
            self._watch = self._jobs.watch()
        return self._watch

    def end(self) -> None:
        """Gives the watch back to the store."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None


async def wait_for_signal(signal: asyncio.Event, seconds: float) -> bool:
    """True if the signal came within so long."""
    try:
        async with asyncio.timeout(seconds):
            await signal.wait()
    except TimeoutError:
        return False
    return True

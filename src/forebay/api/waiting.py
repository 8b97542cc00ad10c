"""Waiting: one watch of the store serves every request and every socket of this process that waits for jobs."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import structlog

from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Job, Status
from forebay.ports import JobStore, Watch

log = structlog.get_logger(__name__)
STORE_PAUSE_SECONDS = 0.5
_JOB = "job:"


class Waiting:
    """Hands the store's hints of a job to those who wait for it. ``close`` ends every wait at once."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._watch: Watch | None = None
        self._signals: dict[str, list[asyncio.Event]] = {}
        self._subscriptions: dict[str, set[Subscription]] = {}
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
                for subscription in self._subscriptions.get(topic, ()):
                    subscription.hint(topic.removeprefix(_JOB))

    @contextmanager
    def on(self, job_id: str) -> Iterator[asyncio.Event]:
        """Gives an event that is set whenever the job may have ended or its stream grown: read the store, then wait."""
        topic = _JOB + job_id
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
                if topic not in self._subscriptions:
                    self._opened().discard([topic])
                self._tell_if_empty()

    def subscribe(self, subscription: "Subscription", job_ids: Iterable[str]) -> None:
        """From now on the subscription is told of these jobs. It holds no drain up: its client comes again."""
        topics = [_JOB + job_id for job_id in job_ids]
        for topic in topics:
            self._subscriptions.setdefault(topic, set()).add(subscription)
        self._opened().add(topics)

    def unsubscribe(self, subscription: "Subscription", job_ids: Iterable[str]) -> None:
        """Idempotent."""
        left: list[str] = []
        for topic in (_JOB + job_id for job_id in job_ids):
            others = self._subscriptions.get(topic)
            if others is not None:
                others.discard(subscription)
                if not others:
                    del self._subscriptions[topic]
                    left.append(topic)
        if self._watch is not None:
            self._watch.discard([topic for topic in left if topic not in self._signals])

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


class Subscription:
    """Many jobs that one client watches. ``wake`` is called, on the loop, when one may have ended or grown."""

    __slots__ = ("_hinted", "_waiting", "_wake")

    def __init__(self, waiting: Waiting, wake: Callable[[], None]) -> None:
        self._waiting = waiting
        self._wake = wake
        self._hinted: set[str] = set()

    def add(self, job_ids: Iterable[str]) -> None:
        """Read the store after it: none that ends from now on is missed."""
        self._waiting.subscribe(self, job_ids)

    def discard(self, job_ids: Iterable[str]) -> None:
        gone = list(job_ids)
        self._hinted.difference_update(gone)
        self._waiting.unsubscribe(self, gone)

    def hint(self, job_id: str) -> None:
        """Notes that the job is to be looked at."""
        self._hinted.add(job_id)
        self._wake()

    def take(self) -> set[str]:
        """Returns the jobs to look at, once."""
        hinted, self._hinted = self._hinted, set()
        return hinted


async def wait_for_signal(signal: asyncio.Event, seconds: float) -> bool:
    """True if the signal came within so long."""
    try:
        async with asyncio.timeout(seconds):
            await signal.wait()
    except TimeoutError:
        return False
    return True

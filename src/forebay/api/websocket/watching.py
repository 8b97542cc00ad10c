"""The jobs that one socket watches: each is looked at when the store hints at it, and told once it has ended."""

import asyncio
from collections.abc import Collection, Iterable
from itertools import islice

from forebay.api.admission import no_job
from forebay.api.context import Api
from forebay.api.reading import WHOLE
from forebay.api.views import view_of
from forebay.api.waiting import STORE_PAUSE_SECONDS, Subscription
from forebay.api.websocket.messages import MOST_WATCHED, JobMessage, refusal_of
from forebay.api.websocket.presence import Presence
from forebay.api.websocket.sending import Closed, Outgoing
from forebay.domain.errors import RequestError, StoreUnavailable
from forebay.domain.job import Job
from forebay.domain.query import ROW, Parts

PAGE_JOBS = 100  # read at once; their results are loaded and sent one by one


class Watched:
    """An idle one costs no task: the one that pushes lives while there is something to look at."""

    __slots__ = ("_api", "_jobs", "_lock", "_out", "_presence", "_pusher", "_subscription", "_tenant", "reserved")

    def __init__(self, api: Api, presence: Presence, tenant: str, out: Outgoing) -> None:
        self._api = api
        self._presence = presence
        self._tenant = tenant
        self._out = out
        self._jobs: dict[str, Parts] = {}  # what a first look reads: a row alone where it may not have ended
        self._subscription = Subscription(api.waiting, self._wake)
        self._lock = asyncio.Lock()  # what was read first is told first
        self._pusher: asyncio.Task[None] | None = None
        self.reserved = 0  # for jobs that are being submitted

    def reserve(self, count: int) -> None:
        """Raises: RequestError: the socket would watch too many."""
        if len(self._jobs) + self.reserved + count > MOST_WATCHED:
            message = f"One socket watches at most {MOST_WATCHED} jobs; unwatch some, or open another one"
            raise RequestError(message, param="ids", code="too_many_watched")

    async def watch(self, job_ids: Collection[str], ref: str | int | None) -> None:
        """Tells each job as it is, and watches those that have not ended. Raises: Closed, StoreUnavailable."""
        wanted = list(dict.fromkeys(job_ids))
        self.reserve(sum(job_id not in self._jobs for job_id in wanted))
        for page in _pages(wanted):
            async with self._lock:
                self._jobs |= dict.fromkeys(page, ROW)
                self._subscription.add(page)
                await self._show_all(page, ref)

    async def cancel(self, job_ids: Collection[str], ref: str | int | None) -> None:
        """Asks the jobs to end, and tells each as it is then. Raises: Closed, StoreUnavailable."""
        for page in _pages(dict.fromkeys(job_ids)):
            async with self._lock:  # its end is told here, not pushed as well
                await self._api.services.jobs.cancel(self._tenant, page)
                await self._show_all(page, ref)

    def begin(self, job_id: str) -> None:
        """Watches a job that was just submitted."""
        self._jobs[job_id] = ROW
        self._subscription.add([job_id])
        self._subscription.hint(job_id)  # it may have ended before

    def discard(self, job_ids: Collection[str]) -> None:
        """Watches these no more."""
        for job_id in job_ids:
            self._jobs.pop(job_id, None)
        self._subscription.discard(job_ids)

    def end(self) -> None:
        """Watches nothing any more."""
        self.discard(list(self._jobs))
        if self._pusher is not None:
            self._pusher.cancel()

    def _wake(self) -> None:
        if self._pusher is None:
            self._pusher = asyncio.create_task(self._push(), name="push")

    async def _push(self) -> None:
        try:
            while hinted := self._subscription.take():
                try:
                    await self._presence.check()
                    for page in _pages(hinted):
                        async with self._lock:
                            await self._look(page)
                except StoreUnavailable:
                    await asyncio.sleep(STORE_PAUSE_SECONDS)
                    for job_id in hinted & self._jobs.keys():
                        self._subscription.hint(job_id)
        except Closed:
            return
        finally:
            self._pusher = None

    async def _look(self, page: list[str]) -> None:
        """Tells those that have ended."""
        watched = [job_id for job_id in page if job_id in self._jobs]
        unsure = [job_id for job_id in watched if self._jobs[job_id] is ROW]
        if unsure:
            live = await self._live(unsure)
            watched = [job_id for job_id in watched if job_id not in live]
        for job_id, job in zip(watched, await self._read(watched, WHOLE), strict=True):
            if job_id in self._jobs and (job is None or job.is_terminal):
                await self._show(job_id, job, None)

    async def _live(self, job_ids: list[str]) -> set[str]:
        """Those that have not ended. A stream's hints come with its chunks: its row is looked at first, always."""
        jobs = await self._read(job_ids, ROW)
        live = {job.id: job for job in jobs if job is not None and not job.is_terminal}
        for job_id, job in live.items():
            if job_id in self._jobs and not job.spec.stream:
                self._jobs[job_id] = WHOLE
        return set(live)

    async def _read(self, job_ids: list[str], parts: Parts) -> list[Job | None]:
        if len(job_ids) == 1:  # many sockets that are hinted at once read once
            return [await self._api.reader.get(self._tenant, job_ids[0], parts)]
        return await self._api.services.jobs.get(self._tenant, job_ids, parts) if job_ids else []

    async def _show_all(self, page: list[str], ref: str | int | None) -> None:
        jobs = await self._api.services.jobs.get(self._tenant, page, WHOLE)
        for job_id, job in zip(page, jobs, strict=True):
            await self._show(job_id, job, ref)

    async def _show(self, job_id: str, job: Job | None, ref: str | int | None) -> None:
        if job is None:
            self.discard([job_id])
            await self._out.tell(refusal_of(no_job(job_id), ref=ref, job_id=job_id))
            return
        await self._out.tell(JobMessage(job=await view_of(job, self._api.services.blobs)))
        if job.is_terminal:  # told, so far as one can know
            self.discard([job_id])


def _pages(job_ids: Iterable[str]) -> Iterable[list[str]]:
    each = iter(job_ids)
    while page := list(islice(each, PAGE_JOBS)):
        yield page

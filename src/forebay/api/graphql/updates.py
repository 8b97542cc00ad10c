"""``jobUpdates``: the jobs as they are, and each again when its status has changed, until all have ended."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from itertools import islice

from forebay.api.admission import no_job
from forebay.api.context import require
from forebay.api.graphql.nodes import Job, job_node
from forebay.api.graphql.operation import Operation, clean
from forebay.api.waiting import STORE_PAUSE_SECONDS, Subscription
from forebay.domain.errors import NotFound, RequestError, StoreUnavailable
from forebay.domain.job import Job as StoredJob
from forebay.domain.job import Status
from forebay.domain.key import Scope
from forebay.domain.query import ROW

MOST_WATCHED = 10_000  # jobs of one subscription
PAGE_JOBS = 100  # read at once; a result is read when the job is told


async def updates(operation: Operation, ids: list[str]) -> AsyncGenerator[Job | NotFound, None]:
    """Yields the jobs; what is no job is an error of its own, and the others go on.

    Raises: RequestError, Forbidden, Unauthorized; StoreUnavailable: at the first look.
    """
    await operation.check()
    require(operation.caller, Scope.READ)
    wanted = list(dict.fromkeys(clean(job_id, "ids") for job_id in ids))
    if not 1 <= len(wanted) <= MOST_WATCHED:
        raise RequestError(f"ids: name 1 to {MOST_WATCHED} jobs, not {len(wanted)}", param="ids")
    watched = _Watched(operation, wanted)
    try:
        for page in _pages(wanted):
            for update in await watched.look(page):
                yield operation.begun(update)
        while watched.statuses:
            for page in _pages(await watched.hinted()):
                for update in await watched.look_again(page):
                    yield operation.begun(update)
    finally:
        watched.end()


class _Watched:
    """The jobs that one subscription still waits for, with the status that its client knows."""

    def __init__(self, operation: Operation, ids: list[str]) -> None:
        self._operation = operation
        self._told = asyncio.Event()
        self._subscription = Subscription(operation.api.waiting, self._told.set)
        self.statuses: dict[str, Status | None] = dict.fromkeys(ids)

    async def look(self, page: list[str]) -> list[Job | NotFound]:
        """Begins to watch the jobs, and gives those whose status is news. Raises: StoreUnavailable."""
        self._subscription.add(page)  # before the read: an end that comes during it is not lost
        return await self._news(page)

    async def look_again(self, page: list[str]) -> list[Job | NotFound]:
        """Gives those whose status is news, once the store can be read."""
        while True:
            try:
                await self._operation.check()
                return await self._news(page)
            except StoreUnavailable:
                await asyncio.sleep(STORE_PAUSE_SECONDS)

    async def hinted(self) -> list[str]:
        """Waits until some job may have changed. A server that goes closes the socket, which ends this."""
        while not (hinted := self._subscription.take() & self.statuses.keys()):
            self._told.clear()
            await self._told.wait()
        return list(hinted)

    def end(self) -> None:
        self._subscription.discard(list(self.statuses))

    async def _news(self, page: list[str]) -> list[Job | NotFound]:
        reader, tenant = self._operation.api.reader, self._operation.caller.tenant
        jobs = await asyncio.gather(*(reader.get(tenant, job_id, ROW) for job_id in page))  # one read, shared by all
        return [update for job_id, job in zip(page, jobs, strict=True) if (update := self._update(job_id, job))]

    def _update(self, job_id: str, job: StoredJob | None) -> Job | NotFound | None:
        if job is not None and self.statuses.get(job_id) is job.status:
            return None
        if job is None or job.is_terminal:
            self._subscription.discard([job_id])
            self.statuses.pop(job_id, None)
            return no_job(job_id) if job is None else job_node(job)
        self.statuses[job_id] = job.status
        return job_node(job)


def _pages(job_ids: Iterable[str]) -> Iterator[list[str]]:
    each = iter(job_ids)
    while page := list(islice(each, PAGE_JOBS)):
        yield page

"""JobReader: reads that come in the same turn of the loop go to the store as one, because one commit ends many jobs."""

import asyncio

from forebay.domain.job import Job
from forebay.domain.query import Parts
from forebay.ports import JobStore

WHOLE = Parts(result=True, attempts=True)
ANSWER = Parts(result=True)

_Asked = list[tuple[str, asyncio.Future[Job | None]]]


class JobReader:
    """``get`` one job at a time, at the cost of many at a time."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._asked: dict[tuple[str, Parts], _Asked] = {}
        self._loading: set[asyncio.Task[None]] = set()

    async def get(self, tenant: str, job_id: str, parts: Parts = WHOLE) -> Job | None:
        """Reads a job; None if there is none of that tenant. Raises: StoreUnavailable."""
        group = (tenant, parts)
        future: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
        asked = self._asked.get(group)
        if asked is None:
            asked = self._asked[group] = []
            task = asyncio.create_task(self._load(group))
            self._loading.add(task)
            task.add_done_callback(self._loading.discard)
        asked.append((job_id, future))
        return await future

    async def _load(self, group: tuple[str, Parts]) -> None:
        asked = self._asked.pop(group)
        tenant, parts = group
        try:
            ids = list(dict.fromkeys(job_id for job_id, _ in asked))  # a job that two ask for is read once
            jobs = dict(zip(ids, await self._jobs.get(tenant, ids, parts), strict=True))
        except BaseException as error:
            for _, future in asked:
                if not future.done():
                    future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for job_id, future in asked:
            if not future.done():
                future.set_result(jobs[job_id])

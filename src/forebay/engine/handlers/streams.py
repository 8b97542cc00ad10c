"""Streams: what a streaming call says becomes durable chunks, which readers are sent after their commit."""

import asyncio

from forebay.domain.change import Verdict
from forebay.domain.errors import LeaseLost
from forebay.domain.job import Job
from forebay.engine.services import Services

CHUNK_BYTES = 4096
CHUNK_SECONDS = 0.1


class ChunkSink:
    """Gathers events and writes them, at most once per 100 ms or 4 KB."""

    def __init__(self, job_id: str, fence: int, services: Services) -> None:
        self._job_id = job_id
        self._fence = fence
        self._jobs = services.jobs
        self._texts: list[str] = []
        self._size = 0
        self._has_written = False
        self._flushed_at = 0.0
        self._timer: asyncio.Task[None] | None = None

    async def write(self, text: str) -> None:
        """Takes whole events. Raises: LeaseLost: another worker has the job."""
        self._texts.append(text)
        self._size += len(text)
        loop = asyncio.get_running_loop()
        is_due = loop.time() - self._flushed_at >= CHUNK_SECONDS
        if is_due or self._size >= CHUNK_BYTES:
            await self._flush()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._flush_later())

    async def close(self) -> bool:
        """Writes what is left. True if anything was ever sent."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
            self._timer = None
        await self._flush()
        return self._has_written

    async def _flush_later(self) -> None:
        await asyncio.sleep(CHUNK_SECONDS)
        self._timer = None
        await self._flush()

    async def _flush(self) -> None:
        if not self._texts:
            return
        text, self._texts, self._size = "".join(self._texts), [], 0
        self._flushed_at = asyncio.get_running_loop().time()
        self._has_written = True
        if await self._jobs.append(self._job_id, self._fence, [text]) is Verdict.LEASE_LOST:
            raise LeaseLost(f"the lease of {self._job_id!r} was taken while its answer streamed")


async def was_streamed(job: Job, services: Services) -> bool:
    """Whether an earlier attempt has sent something already: its reader must not get a second beginning."""
    return job.attempt_count > 0 and bool(await services.jobs.read(job.id, limit=1))

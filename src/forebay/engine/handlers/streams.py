"""Streams: what a streaming call says becomes durable chunks, which readers are sent after their commit."""

import asyncio
import contextlib

import structlog

from forebay.domain.change import Verdict
from forebay.domain.errors import LeaseLost, StoreUnavailable
from forebay.domain.job import Job
from forebay.engine.services import Services

log = structlog.get_logger(__name__)
CHUNK_BYTES = 4096
CHUNK_SECONDS = 0.1


class ChunkSink:
    """Gathers events and writes them in order, at most once per 100 ms or 4 KB. What the store does not take now it
    keeps for the next write, so that a stream has no gap; with its number, so that it has nothing twice.
    """

    def __init__(self, job_id: str, fence: int, services: Services, first: int = 0) -> None:
        """``first``: the number of the next chunk of the job's stream."""
        self._job_id = job_id
        self._fence = fence
        self._jobs = services.jobs
        self._first = first
        self._chunks: list[str] = []  # made, and not known to be written
        self._texts: list[str] = []
        self._size = 0
        self._has_written = False
        self._flushed_at = 0.0
        self._lock = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None

    async def write(self, text: str) -> None:
        """Takes whole events. Raises: LeaseLost: another worker has the job."""
        self._texts.append(text)
        self._size += len(text)
        is_due = asyncio.get_running_loop().time() - self._flushed_at >= CHUNK_SECONDS
        if is_due or self._size >= CHUNK_BYTES:
            await self._flush_if_stored()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._flush_later())

    async def close(self) -> bool:
        """Writes what is left. True if anything was ever sent. Raises: LeaseLost; StoreUnavailable: try again."""
        self.abandon()
        await self._flush()
        return self._has_written

    def abandon(self) -> None:
        """Writes no more by itself; nothing is awaited, so it may be called under cancellation."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _flush_later(self) -> None:
        await asyncio.sleep(CHUNK_SECONDS)
        self._timer = None
        with contextlib.suppress(LeaseLost):  # the next write, or the close, raises it in the call's own task
            await self._flush_if_stored()

    async def _flush_if_stored(self) -> None:
        try:
            await self._flush()
        except StoreUnavailable as unavailable:
            log.error("store_unavailable", verb="append", job_id=self._job_id, reason=str(unavailable))  # noqa: TRY400

    async def _flush(self) -> None:
        async with self._lock:
            if self._texts:
                self._chunks.append("".join(self._texts))
                self._texts, self._size = [], 0
            if not self._chunks:
                return
            self._flushed_at = asyncio.get_running_loop().time()
            verdict = await self._jobs.append(self._job_id, self._fence, self._chunks, first=self._first)
            if verdict is Verdict.LEASE_LOST:
                raise LeaseLost(f"the lease of {self._job_id!r} was taken while its answer streamed")
            self._has_written = True
            self._first += len(self._chunks)
            self._chunks = []


async def was_streamed(job: Job, services: Services) -> bool:
    """Whether an earlier attempt has sent something already: its reader must not get a second beginning."""
    return job.attempt_count > 0 and bool(await services.jobs.read(job.id, limit=1))

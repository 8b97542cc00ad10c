"""Blobs in memory, which outlive the simulated processes as a disk does."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from forebay.domain.errors import NotFound
from forebay.domain.ids import IdSource
from forebay.ports import BlobInfo, Clock

PIECE_BYTES = 4096


class Disk:
    """What all processes share: the bytes, and when they were written."""

    def __init__(self) -> None:
        self.blobs: dict[str, tuple[bytes, float]] = {}


class MemoryBlobs:
    """A BlobStore over a Disk, for one process. Each step takes its time, and a process may die in it."""

    def __init__(self, disk: Disk, clock: Clock, ids: IdSource, latency: Callable[[], float]) -> None:
        self._disk = disk
        self._clock = clock
        self._ids = ids
        self._latency = latency

    @property
    def store_id(self) -> str:
        return "blobs_simulated"

    async def write(self, chunks: AsyncIterator[bytes]) -> BlobInfo:
        data = b"".join([chunk async for chunk in chunks])
        await asyncio.sleep(self._latency())
        blob_id, now = self._ids.new("blob"), self._clock.now()
        self._disk.blobs[blob_id] = (data, now)
        return BlobInfo(id=blob_id, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), written_at=now)

    async def read(self, blob_id: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        data = self._data(blob_id)[start:end]
        for place in range(0, len(data), PIECE_BYTES):
            await asyncio.sleep(self._latency())
            yield data[place : place + PIECE_BYTES]

    async def size(self, blob_id: str) -> int:
        return len(self._data(blob_id))

    def local_path(self, blob_id: str) -> Path | None:  # noqa: ARG002 - the port's signature
        return None

    async def delete(self, blob_ids: Sequence[str]) -> None:
        for blob_id in blob_ids:
            self._disk.blobs.pop(blob_id, None)

    async def older_than(self, written_before: float) -> AsyncIterator[str]:
        for blob_id in [one for one, (_, written_at) in self._disk.blobs.items() if written_at < written_before]:
            yield blob_id

    def _data(self, blob_id: str) -> bytes:
        if blob_id not in self._disk.blobs:
            raise NotFound(f"there is no blob {blob_id!r}")
        return self._disk.blobs[blob_id][0]

"""BlobStore: immutable bytes under fresh ids."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from forebay.domain.errors import NotFound
from forebay.ports import BlobStore, Clock
from forebay.testing.clock import FakeClock

UNKNOWN = "blob_" + "0" * 26
LARGE = bytes(range(256)) * 12_000  # 3 MB: several pieces of whatever size a store reads by


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobWorld:
    """An opened blob store, its clock, and the factory that opens it again where it is."""

    clock: FakeClock
    store: BlobStore
    open_again: Callable[[Clock], Awaitable[BlobStore]]

    async def write(self, data: bytes) -> str:
        return (await self.store.write(pieces(data))).id

    async def read(self, blob_id: str, start: int = 0, end: int | None = None) -> bytes:
        return b"".join([piece async for piece in self.store.read(blob_id, start, end)])


class BlobStoreSuite:
    async def test_what_was_written_is_read(self, blobs: BlobWorld) -> None:
        for data in (b"", b"x", LARGE):
            info = await blobs.store.write(pieces(data))
            assert (info.bytes, info.sha256) == (len(data), hashlib.sha256(data).hexdigest())
            assert info.written_at == blobs.clock.now()
            assert await blobs.read(info.id) == data
            assert await blobs.store.size(info.id) == len(data)

    async def test_every_write_has_an_id_of_its_own(self, blobs: BlobWorld) -> None:
        ids = [await blobs.write(b"same") for _ in range(20)]
        assert len(set(ids)) == 20

    @pytest.mark.parametrize(
        ("start", "end"),
        [(0, 0), (0, 1), (5, 9), (255, 257), (1_000_000, 2_500_001), (len(LARGE) - 1, None), (7, len(LARGE) + 99)],
    )
    async def test_a_range_is_read_alone(self, blobs: BlobWorld, start: int, end: int | None) -> None:
        assert await blobs.read(await blobs.write(LARGE), start, end) == LARGE[start:end]

    async def test_a_range_beyond_the_end_is_empty(self, blobs: BlobWorld) -> None:
        assert await blobs.read(await blobs.write(b"abc"), 10) == b""

    async def test_a_blob_that_is_not_there_is_not_found(self, blobs: BlobWorld) -> None:
        with pytest.raises(NotFound):
            await blobs.read(UNKNOWN)
        with pytest.raises(NotFound):
            await blobs.store.size(UNKNOWN)

    async def test_deleting_is_idempotent_and_harms_no_other(self, blobs: BlobWorld) -> None:
        gone, kept = [await blobs.write(data) for data in (b"gone", b"kept")]
        for _ in range(2):
            await blobs.store.delete([gone, UNKNOWN])
        with pytest.raises(NotFound):
            await blobs.read(gone)
        assert await blobs.read(kept) == b"kept"

    async def test_a_write_whose_sender_fails_leaves_no_blob(self, blobs: BlobWorld) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield LARGE
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await blobs.store.write(broken())
        blobs.clock.advance(10)
        assert [blob_id async for blob_id in blobs.store.older_than(blobs.clock.now())] == []

    async def test_the_sweep_is_told_the_blobs_written_before_a_time(self, blobs: BlobWorld) -> None:
        old = {await blobs.write(b"old") for _ in range(3)}
        blobs.clock.advance(100)
        await blobs.write(b"young")
        assert {blob_id async for blob_id in blobs.store.older_than(blobs.clock.now() - 50)} == old

    async def test_blobs_and_the_stores_id_outlive_the_process(self, blobs: BlobWorld) -> None:
        blob_id = await blobs.write(LARGE)
        again = await blobs.open_again(blobs.clock)
        assert again.store_id == blobs.store.store_id != ""
        assert b"".join([piece async for piece in again.read(blob_id)]) == LARGE


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    """The bytes as a sender's chunks."""
    for start in range(0, len(data), size):
        yield data[start : start + size]

"""Blobs in PostgreSQL pass the suite of every blob store, and hold what is particular to rows in pieces."""

from collections.abc import AsyncIterator

import pytest

from forebay.blobs.postgres import PIECE_BYTES, PostgresBlobs, open_postgres_blobs
from forebay.domain.ids import IdSource
from forebay.ports import BlobStore, Clock
from forebay.stores.postgres import PostgresStore
from forebay.testing.clock import FakeClock
from forebay.testing.conformance.blobs import BlobStoreSuite, BlobWorld, pieces
from tests.integration.postgres_house import empty_place, opened_at, server


@pytest.fixture
async def blobs() -> AsyncIterator[BlobWorld]:
    place = await empty_place(server().url())
    stores: list[PostgresStore] = []

    async def open_it(clock: Clock) -> BlobStore:
        stores.append(await opened_at(place, clock))
        return await open_postgres_blobs(stores[-1].backend, ids=IdSource(clock.now))

    clock = FakeClock()
    yield BlobWorld(clock=clock, store=await open_it(clock), open_again=open_it)
    for store in stores:
        await store.close()


class TestBlobs(BlobStoreSuite):
    async def test_ranges_that_begin_and_end_at_the_edges_of_pieces_are_exact(self, blobs: BlobWorld) -> None:
        data = bytes(n % 251 for n in range(2 * PIECE_BYTES + 7))
        blob_id = await blobs.write(data)
        edges = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, len(data)]
        for start in edges:
            for end in edges:
                assert await blobs.read(blob_id, start, end) == data[start:end]

    async def test_a_blob_that_is_being_written_can_not_be_read_and_is_swept_when_its_sender_stands_still(
        self, blobs: BlobWorld
    ) -> None:
        assert isinstance(blobs.store, PostgresBlobs)
        seen: list[str] = []

        async def slow() -> AsyncIterator[bytes]:
            yield b"x" * PIECE_BYTES
            blobs.clock.advance(3600)
            seen.extend([blob_id async for blob_id in blobs.store.older_than(blobs.clock.now() - 1)])
            blobs.clock.advance(3600)
            yield b"y" * PIECE_BYTES
            seen.extend([blob_id async for blob_id in blobs.store.older_than(blobs.clock.now() - 1)])

        info = await blobs.store.write(slow())
        assert seen == [info.id]  # idle for an hour, then touched
        assert await blobs.store.size(info.id) == 2 * PIECE_BYTES

    async def test_a_blob_written_in_the_smallest_chunks_is_whole(self, blobs: BlobWorld) -> None:
        info = await blobs.store.write(pieces(b"0123456789" * 50, size=1))
        assert await blobs.read(info.id) == b"0123456789" * 50

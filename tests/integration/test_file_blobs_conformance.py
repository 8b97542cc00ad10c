"""Blobs in a folder pass the suite of every blob store."""

from pathlib import Path

import pytest

from forebay.blobs.files import FileBlobs, open_blobs
from forebay.domain.ids import IdSource
from forebay.ports import Clock
from forebay.testing.clock import FakeClock
from forebay.testing.conformance.blobs import BlobWorld
from forebay.testing.conformance.suite import BlobStoreSuite


@pytest.fixture
async def blobs(tmp_path: Path) -> BlobWorld:
    async def open_again(clock: Clock) -> FileBlobs:
        return await open_blobs(tmp_path / "blobs", clock=clock, ids=IdSource(clock.now))

    clock = FakeClock()
    return BlobWorld(clock=clock, store=await open_again(clock), open_again=open_again)


class TestFileBlobs(BlobStoreSuite):
    pass

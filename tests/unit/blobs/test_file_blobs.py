"""What is peculiar to blobs in a folder; what every blob store does stands in the conformance suite."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.blobs.files import FileBlobs, open_blobs
from forebay.blobs.incoming import Incoming
from forebay.domain.errors import ConfigurationError, NotFound, StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def blobs(tmp_path: Path, clock: FakeClock) -> FileBlobs:
    return await open_blobs(tmp_path / "blobs", clock=clock, ids=IdSource(clock.now))


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "store-id"]


async def test_processes_that_open_a_new_folder_together_agree_on_its_id(tmp_path: Path, clock: FakeClock) -> None:
    opened = await asyncio.gather(*(open_blobs(tmp_path, clock=clock, ids=IdSource(clock.now)) for _ in range(8)))
    assert len({blobs.store_id for blobs in opened}) == 1


async def test_a_folder_that_cannot_be_made_is_refused_with_its_name(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file/blobs"):
        await open_blobs(tmp_path / "file" / "blobs", clock=clock, ids=IdSource(clock.now))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "blob_..", "", "store-id", "blob_" + "/" * 26])
async def test_no_id_leads_out_of_the_folder(blobs: FileBlobs, tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        await blobs.size(name)
    with pytest.raises(NotFound):
        await anext(blobs.read(name))
    await blobs.delete([name])
    assert (tmp_path / "blobs" / "store-id").exists()


async def test_a_failed_or_cancelled_write_leaves_no_file(blobs: FileBlobs, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * (2 * 1024 * 1024)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(blobs.write(endless()))
    await begun.wait()
    assert files_of(tmp_path / "blobs") != []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_of(tmp_path / "blobs") == []


async def test_an_error_of_the_sender_is_not_taken_for_one_of_the_disk(blobs: FileBlobs, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await blobs.write(broken())
    assert files_of(tmp_path / "blobs") == []


async def test_a_failing_disk_acknowledges_nothing(blobs: FileBlobs, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "incoming").rmdir()
    with pytest.raises(StoreUnavailable):
        await blobs.write(once(b"data"))


async def test_the_sweep_deletes_what_an_interrupted_write_left_but_no_write_in_progress(
    blobs: FileBlobs, tmp_path: Path, clock: FakeClock
) -> None:
    incoming = tmp_path / "blobs" / "incoming"
    left = incoming / "blob_left"
    left.write_bytes(b"half")
    underway = Incoming(incoming / "blob_underway")
    underway.write(b"half")
    for path in incoming.iterdir():
        os.utime(path, (clock.now(), clock.now()))

    assert [blob_id async for blob_id in blobs.older_than(clock.now())] == []
    assert left.exists()
    assert [blob_id async for blob_id in blobs.older_than(clock.now() + 1)] == []

    assert [path.name for path in incoming.iterdir()] == ["blob_underway"]
    underway.discard()
    assert files_of(tmp_path / "blobs") == []


async def test_an_upload_of_hours_is_young_when_it_ends(blobs: FileBlobs, clock: FakeClock) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"begin"
        clock.advance(7200)
        yield b"end"

    info = await blobs.write(slow())

    assert info.written_at == clock.now()
    assert [blob_id async for blob_id in blobs.older_than(clock.now() - 3600)] == []

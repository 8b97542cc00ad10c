"""Archives: both forms say the same, and what is not whole, not ours or not ours yet is refused before anything."""

import contextlib
import json
import os
import random
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from forebay.blobs.files import open_blobs
from forebay.domain.content import Content
from forebay.domain.errors import ConfigurationError, StoreDamaged, StoreRefused, StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.domain.stored import StoredRecord
from forebay.ports import BlobStore, Clock
from forebay.stores.sqlite import SqliteStore, hold_archive, open_store
from forebay.testing.conformance.world import World, opened
from forebay.transfer import TransferPlace, export_store, import_store
from forebay.transfer.checking import check_archive
from forebay.transfer.unpacking import entries

FLIPS, CUTS = 150, 40
FORMS = pytest.mark.parametrize("form", ["a.tar", "a"])


class Home:
    """A store with its blobs in a folder, opened as a World."""

    def __init__(self, world: World, place: TransferPlace) -> None:
        self.world = world
        self.place = place

    async def export(self, path: Path) -> Path:
        await export_store(self.place, path, version="1", now=0.0)
        return path

    async def blob(self, data: bytes) -> str:
        async def once() -> AsyncIterator[bytes]:
            yield data

        return (await self.place.blobs.write(once())).id

    async def fill(self) -> list[str]:
        """Two jobs, one with its body in a blob, and a file."""
        ids = [await self.blob(b'"body"' * 1000), await self.blob(b"")]
        await self.world.add(body=Content(blob_id=ids[0], bytes=6000))
        await self.world.add(deadline=self.world.clock.now() + 1e9)
        await self.world.records.put(StoredRecord(kind="file", id="f", blobs=(ids[1],)))
        return ids


@contextlib.asynccontextmanager
async def home(folder: Path) -> AsyncIterator[Home]:
    os.mkdir(folder)
    path = folder / "forebay.db"

    async def open_it(clock: Clock) -> SqliteStore:
        return await open_store(path, clock=clock)

    async with opened(open_it) as world:

        async def reopen(ids: IdSource) -> BlobStore:
            return await open_blobs(folder / "blobs", clock=world.clock, ids=ids)

        blobs = await reopen(IdSource(world.clock.now))
        hold = partial(hold_archive, path)
        yield Home(world, TransferPlace(shown="it", jobs=world.jobs, blobs=blobs, hold=hold, reopen_blobs=reopen))


@FORMS
async def test_what_was_exported_is_imported_with_its_blobs_under_their_ids(tmp_path: Path, form: str) -> None:
    async with home(tmp_path / "one") as one, home(tmp_path / "two") as two:
        ids = await one.fill()
        path = await one.export(tmp_path / form)
        manifest = await import_store(two.place, path)
        assert manifest == check_archive(path)
        assert (manifest.parts["jobs"].rows, manifest.blobs.count, manifest.blobs.bytes) == (2, 2, 6000)
        assert b"".join([piece async for piece in two.place.blobs.read(ids[0])]) == b'"body"' * 1000
        assert await two.place.blobs.size(ids[1]) == 0
        assert len(await two.world.claim()) == 2


async def test_both_forms_have_the_same_entries(tmp_path: Path) -> None:
    async with home(tmp_path / "one") as one:
        await one.fill()
        tar, folder = await one.export(tmp_path / "a.tar"), await one.export(tmp_path / "a")
    assert {entry.name: entry.whole() for entry in entries(tar)} == {e.name: e.whole() for e in entries(folder)}
    with tarfile.open(tar) as opened:
        assert opened.getnames()[-1] == "manifest.sha256"
    assert (tar.stat().st_mode & 0o077, folder.stat().st_mode & 0o077) == (0, 0)


async def test_a_byte_that_was_changed_anywhere_is_found_or_means_nothing(tmp_path: Path) -> None:
    async with home(tmp_path / "one") as one:
        await one.fill()
        path = await one.export(tmp_path / "a.tar")
    whole = path.read_bytes()
    expected = check_archive(path)
    chance = random.Random(4)
    refused = 0
    for place in chance.sample(range(len(whole)), FLIPS):
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        try:
            assert check_archive(path) == expected, place
        except ConfigurationError:
            refused += 1
    assert refused > FLIPS / 10


async def test_an_archive_that_was_cut_off_is_refused_and_the_store_stays_empty(tmp_path: Path) -> None:
    async with home(tmp_path / "one") as one, home(tmp_path / "two") as two:
        await one.fill()
        path = await one.export(tmp_path / "a.tar")
        whole = path.read_bytes()
        last = len(whole.rstrip(b"\0"))
        for length in random.Random(5).sample(range(last), CUTS):
            path.write_bytes(whole[:length])
            with pytest.raises(ConfigurationError, match="nothing was imported"):
                await import_store(two.place, path)
        path.write_bytes(whole)
        await import_store(two.place, path)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "forebay-archive.json", "rows", "blobs"])
async def test_a_folder_without_one_of_its_parts_is_refused(tmp_path: Path, name: str) -> None:
    async with home(tmp_path / "one") as one:
        await one.fill()
        path = await one.export(tmp_path / "a")
    (path / name).rename(tmp_path / "away")
    with pytest.raises(ConfigurationError, match="nothing was imported"):
        check_archive(path)


async def test_an_archive_of_a_newer_program_is_refused_by_its_number(tmp_path: Path) -> None:
    async with home(tmp_path / "one") as one:
        path = await one.export(tmp_path / "a")
    (path / "forebay-archive.json").write_text(json.dumps({"program": "forebay", "format": 2, "version": "9.0"}))
    with pytest.raises(ConfigurationError, match=r"newer Forebay \(9.0, archive format 2"):
        check_archive(path)


@pytest.mark.parametrize("text", [b"", b"no archive", b"{}" * 5000])
async def test_another_file_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(text)
    with pytest.raises(ConfigurationError):
        check_archive(tmp_path / "a.tar")
    with pytest.raises(ConfigurationError, match="There is no"):
        check_archive(tmp_path / "none.tar")


async def test_a_store_that_holds_anything_is_not_imported_into(tmp_path: Path) -> None:
    async with home(tmp_path / "one") as one, home(tmp_path / "two") as two:
        path = await one.export(tmp_path / "a")
        await two.world.records.put(StoredRecord(kind="note", id="n"))
        with pytest.raises(StoreRefused, match="is not empty"):
            await import_store(two.place, path)


async def test_a_store_that_is_worked_on_is_neither_exported_nor_imported_into(tmp_path: Path) -> None:
    async with home(tmp_path / "one") as one, home(tmp_path / "two") as two:
        path = await one.export(tmp_path / "a")
        for busy in (one, two):
            await busy.world.worker()
        with pytest.raises(StoreRefused, match="worker-1"):
            await one.export(tmp_path / "b.tar")
        with pytest.raises(StoreRefused, match="worker-1"):
            await import_store(two.place, path)
    assert _names(tmp_path) == ["a", "one", "two"]


async def test_leases_of_a_dead_worker_are_handed_back_before_the_export(tmp_path: Path) -> None:
    async with home(tmp_path / "one") as one, home(tmp_path / "two") as two:
        await one.fill()
        claimed = await one.world.take()
        await one.world.begin(claimed)
        one.world.clock.advance(100)
        await import_store(two.place, await one.export(tmp_path / "a"))
        two.world.clock.advance(100)
        await two.world.recover()
        assert len(await two.world.claim()) == 2
        [attempt] = await two.world.ledger(claimed.job.id)
        assert attempt.outcome == "unknown"


async def test_a_blob_that_is_gone_breaks_the_export_off_and_leaves_nothing(tmp_path: Path) -> None:
    async with home(tmp_path / "one") as one:
        [blob_id, _] = await one.fill()
        await one.place.blobs.delete([blob_id])
        for form in ("a.tar", "a"):
            with pytest.raises(StoreDamaged, match=blob_id):
                await one.export(tmp_path / form)
    assert _names(tmp_path) == ["one"]


async def test_an_import_that_broke_off_is_done_again_from_the_start(tmp_path: Path) -> None:
    async with home(tmp_path / "one") as one, home(tmp_path / "two") as two:
        ids = await one.fill()
        path = await one.export(tmp_path / "a")
        real = two.place.reopen_blobs

        async def failing(source: IdSource) -> BlobStore:
            await (await real(source)).delete(ids)
            raise StoreUnavailable("the disk is full")

        with pytest.raises(StoreUnavailable):
            await import_store(replace(two.place, reopen_blobs=failing), path)
        await import_store(two.place, path)
        assert await two.place.blobs.size(ids[0]) == 6000


@FORMS
async def test_an_archive_that_exists_is_never_written_over(tmp_path: Path, form: str) -> None:
    async with home(tmp_path / "one") as one:
        path = await one.export(tmp_path / form)
        with pytest.raises(ConfigurationError, match="exists already"):
            await one.export(path)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())

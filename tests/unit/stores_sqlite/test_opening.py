"""Opening: what is not ours is refused and left as it was; what is older is migrated after a copy."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from forebay.domain.errors import StoreRefused
from forebay.domain.job import Job
from forebay.stores.sqlite import open_store, opening
from forebay.stores.sqlite.statements import migrations
from forebay.testing.clock import FakeClock


async def test_another_programs_database_is_refused_and_unchanged(path: Path, clock: FakeClock) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (name TEXT)")
    other.commit()
    other.close()
    before = await asyncio.to_thread(path.read_bytes)
    with pytest.raises(StoreRefused, match="another program"):
        await open_store(path, clock=clock)
    assert await asyncio.to_thread(path.read_bytes) == before


async def test_a_store_of_a_newer_forebay_is_refused(path: Path, clock: FakeClock) -> None:
    await (await open_store(path, clock=clock)).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 9999")
    newer.close()
    with pytest.raises(StoreRefused, match="newer Forebay"):
        await open_store(path, clock=clock)


async def test_a_file_that_is_no_database_is_refused_and_unchanged(path: Path, clock: FakeClock) -> None:
    await asyncio.to_thread(path.write_text, "id,review\n1,fine\n" * 1000)
    before = await asyncio.to_thread(path.read_bytes)
    with pytest.raises(StoreRefused, match="not a Forebay store"):
        await open_store(path, clock=clock)
    assert await asyncio.to_thread(path.read_bytes) == before


async def test_a_path_in_a_missing_folder_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(StoreRefused, match="folder"):
        await open_store(tmp_path / "missing" / "store.db", clock=clock)


async def test_an_older_store_is_migrated_after_a_copy_beside_it(
    path: Path, clock: FakeClock, make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(path, clock=clock)
    job = make()
    await store.jobs.add([job])
    await store.close()
    steps = [*migrations(), (9000, "CREATE TABLE news (text TEXT);")]
    monkeypatch.setattr(opening, "migrations", lambda: steps)
    migrated = await open_store(path, clock=clock)
    assert await migrated.jobs.get(None, [job.id]) != [None]
    await migrated.close()
    assert _version(path) == 9000
    assert _version(path.with_name(f"{path.name}.v{migrations()[-1][0]}.bak")) == migrations()[-1][0]


async def test_a_migration_that_fails_leaves_the_store_as_it_was(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await open_store(path, clock=clock)).close()
    steps = [*migrations(), (9000, "CREATE TABLE news (text TEXT); DROP TABLE missing;")]
    monkeypatch.setattr(opening, "migrations", lambda: steps)
    with pytest.raises(apsw.SQLError):
        await open_store(path, clock=clock)
    monkeypatch.undo()
    assert _version(path) == migrations()[-1][0]
    await (await open_store(path, clock=clock)).close()


async def test_many_that_open_a_new_file_at_once_make_one_store(path: Path, clock: FakeClock) -> None:
    stores = await asyncio.gather(*(open_store(path, clock=clock) for _ in range(6)))
    for store in stores:
        await store.bind_blobs("blobs-1")
        await store.close()
    assert _version(path) == migrations()[-1][0]


async def test_the_blob_stores_id_is_kept_and_another_is_refused(path: Path, clock: FakeClock) -> None:
    store = await open_store(path, clock=clock)
    await store.bind_blobs("blobs-1")
    await store.close()
    store = await open_store(path, clock=clock)
    await store.bind_blobs("blobs-1")
    with pytest.raises(StoreRefused, match="blobs-2"):
        await store.bind_blobs("blobs-2")
    await store.close()


async def test_a_store_in_memory_is_nobody_elses(clock: FakeClock, make: Callable[..., Job]) -> None:
    one, two = await open_store(":memory:", clock=clock), await open_store(":memory:", clock=clock)
    job = make()
    await one.jobs.add([job])
    assert await two.jobs.get(None, [job.id]) == [None]
    await one.close()
    await two.close()


async def test_a_commit_is_synced_before_it_is_acknowledged(path: Path, clock: FakeClock) -> None:
    store = await open_store(path, clock=clock)
    connection = store._backend._writer._connection
    assert connection.execute("PRAGMA synchronous").fetchall() == [(2,)]
    assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    await store.close()


def _version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()

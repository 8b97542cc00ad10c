"""A power cut at any moment under load: whatever the disk made of what was not synced, the store opens, is whole, and
has every acknowledged job with its body; and a server goes on with it.
"""

import asyncio
import random
import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import pytest

from forebay.domain.errors import StoreRefused
from forebay.testing.power_cut import Entry, compile_journal, cuts, read_journal
from forebay.testing.processes import Running

from .faults_support import STORE, checked, configure, http, opened, order, submit, until_ended
from .processes import started

SEED = 7
CUTS = 24
SUBMISSIONS = 30
BODY_CHARACTERS = 6_000
LARGE_CHARACTERS = 70_000  # a blob of its own

Acknowledged = list[tuple[int, list[str]]]  # when, which


@pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="no C compiler")
async def test_whenever_the_power_is_cut_the_disk_holds_all_that_was_acknowledged(tmp_path: Path) -> None:
    live, known = tmp_path / "live", tmp_path / "journal"
    live.mkdir()
    library = await asyncio.to_thread(compile_journal, tmp_path)
    async with started("mock-model", "--port", "0", folder=live) as mock, http() as session:
        configure(live, mock.address)
        shim = {"LD_PRELOAD": str(library), "POWER_FOLDER": str(live), "POWER_JOURNAL": str(known)}
        async with started("serve", "--port", "0", folder=live, is_fresh=True, **shim) as server:
            acknowledged = await _load(session, server)
            await server.kill()
        journal = await asyncio.to_thread(read_journal, known)
        chance = random.Random(SEED)
        after = _moments(journal, chance)
        folders: list[Path] = []
        for number, disk in cuts(journal, live, after):
            folder = tmp_path / f"cut-{number}"
            folder.mkdir()
            await asyncio.to_thread(disk.write_torn, folder, chance)
            await _is_whole(folder, acknowledged, journal[number].at_ns)
            folders.append(folder)
        assert len(folders) >= CUTS
        assert await _is_noticed(tmp_path / "lying", live, journal, acknowledged), "a disk that only says it has synced"
        last = folders[-1]
        shutil.copyfile(live / "forebay.yaml", last / "forebay.yaml")
        async with started("serve", "--port", "0", folder=last) as again:
            await until_ended(last)
            assert await again.terminate() == 0
        every = [job_id for _, ids in acknowledged for job_id in ids]
        assert {job.status.value for job in (await checked(last, every)).values()} == {"succeeded"}


async def _load(session: aiohttp.ClientSession, server: Running) -> Acknowledged:
    """Enough for the log to be copied into the file more than once."""
    acknowledged: Acknowledged = []
    for number in range(SUBMISSIONS):
        orders = [_order(f"job {number:03d}-{place:03d}.", BODY_CHARACTERS) for place in range(40)]
        orders.append(_order(f"large {number:03d}.", LARGE_CHARACTERS))
        acknowledged.append((0, await submit(session, server.address, orders)))
        acknowledged[-1] = (time.monotonic_ns(), acknowledged[-1][1])
    return acknowledged


def _moments(journal: list[Entry], chance: random.Random) -> set[int]:
    """Half of them while the log is copied into the file, the last after everything."""
    copied = [number for number, entry in enumerate(journal) if entry.path.endswith(f"/{STORE}")]
    begun = next(number for number, entry in enumerate(journal) if entry.path.endswith("-wal") and entry.kind == "S")
    whenever = range(begun, len(journal))
    later = [number for number in copied if number > begun]
    assert later, "the log was never copied into the file"
    return {
        *chance.sample(whenever, CUTS // 2 + 1),
        *chance.sample(later, min(len(later), CUTS // 2)),
        len(journal) - 1,
    }


async def _is_noticed(folder: Path, live: Path, journal: list[Entry], acknowledged: Acknowledged) -> bool:
    """Whether acknowledged jobs are missing where no sync of the log is done."""
    lying = [entry for entry in journal if not (entry.kind == "S" and entry.path.endswith("-wal"))]
    for number, disk in cuts(lying, live, {len(lying) * 3 // 4}):
        await asyncio.to_thread(disk.write_torn, folder, random.Random(SEED))
        ids = [job_id for at_ns, those in acknowledged if at_ns <= lying[number].at_ns for job_id in those]
        try:
            async with opened(folder) as store:
                return None in await store.jobs.get(None, ids)
        except StoreRefused:
            return True
    raise AssertionError("there was no cut")


async def _is_whole(folder: Path, acknowledged: Acknowledged, cut_at_ns: int) -> None:
    connection = apsw.Connection(str(folder / STORE))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    ids = [job_id for at_ns, those in acknowledged if at_ns <= cut_at_ns for job_id in those]
    await checked(folder, ids, is_over=False)
    async with opened(folder) as store:
        jobs = await store.jobs.get(None, ids)
        for job in jobs:
            assert job is not None
            if job.body is not None and job.body.blob_id is not None:
                blob = folder / f"{STORE}.blobs" / job.body.blob_id[-2:] / job.body.blob_id
                assert blob.stat().st_size == job.body.bytes, "a row names a blob that is not whole"


def _order(name: str, characters: int) -> dict[str, Any]:
    body = {"model": "mock", "messages": [{"role": "user", "content": name + "x" * characters}]}
    return {**order(name), "body": body}

"""A real disk that is full, or that takes no writes: a file system of a few megabytes, mounted for the test."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.domain.job import Status

from .faults_support import checked, configure, counted, hold, http, let_go, order, submit, until, until_ended
from .processes import Running, started
from .run_support import forebay
from .test_faults_store import try_to_submit, until_accepted

SIZE_BYTES = 24 * 1024 * 1024
PIECE = b"x" * 65_536


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of its own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a file system takes root on Linux")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "forebay-test", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


async def test_a_disk_that_is_full_refuses_new_work_and_loses_no_answer(disk: Path, tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(disk, mock.address)
        async with started("serve", "--port", "0", folder=disk) as server:
            await hold(session, mock.address)
            ids = await submit(session, server.address, [order(f"job {number:03d}.") for number in range(16)])

            async def are_sent() -> bool:
                return bool((await counted(session, mock.address))["total"] >= len(ids))

            await until(are_sent)
            filler = disk / "filler"
            _fill(filler)
            large = order("large " + "x" * 60_000)  # what is left of the log's last page holds no such job
            status, error = await try_to_submit(session, server.address, "refused", body=large["body"])
            assert (status, error["error"]["code"]) == (503, "store_unavailable")
            await let_go(session, mock.address)
            await until(lambda: _says(server, "apply"))
            filler.unlink()
            ids.append(await until_accepted(session, server.address, "after"))
            await until_ended(disk)
            assert await server.terminate() == 0
        jobs = await checked(disk, ids, await counted(session, mock.address))
        assert {(job.status, len(job.attempts)) for job in jobs.values()} == {(Status.SUCCEEDED, 1)}


async def test_a_disk_that_takes_no_writes_is_refused_in_one_sentence_and_works_when_it_takes_them(
    disk: Path, tmp_path: Path
) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(disk, mock.address)
        async with started("serve", "--port", "0", "--no-worker", folder=disk) as server:
            ids = await submit(session, server.address, [order(f"job {number:03d}.") for number in range(8)])
            assert await server.terminate() == 0
        _remount(disk, "ro")
        for command in (("serve", "--port", "0"), ("worker",)):
            ended = forebay(*command, cwd=disk)
            assert ended.code == 2
            [sentence] = ended.err.strip().splitlines()
            assert "can't be" in sentence
        _remount(disk, "rw")
        async with started("serve", "--port", "0", folder=disk) as server:
            await until_ended(disk)
            assert await server.terminate() == 0
        jobs = await checked(disk, ids, await counted(session, mock.address))
        assert {job.status for job in jobs.values()} == {Status.SUCCEEDED}


def _remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(PIECE)
        except OSError:  # no room for a piece; then byte by byte, for a page has none either
            pass
        try:
            while file.write(b"x" * 512):
                pass
        except OSError:
            pass


async def _says(server: Running, text: str) -> bool:
    return any(text in line for line in server.log)

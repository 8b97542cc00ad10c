"""Jobs that take their worker down, and workers whose server is gone."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from forebay.domain.job import ErrorCode, Status
from forebay.domain.query import JobQuery

from .faults_support import LIVE, checked, configure, http, opened, order, submit, until, until_ended
from .processes import start, start_worker, started

NEIGHBOURS = 60
MOST_DEATHS = 12
KILLER = """
import asyncio, os, signal

async def answer(request):
    await asyncio.sleep(0.05)
    if "poison" in str(request.body):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"ok": True}
"""
CONFIGURATION = """
store: sqlite:///forebay.db
targets:
  killer: {type: python, function: "killer:answer", models: [mock], limits: {concurrency: 8}}
"""


async def test_a_job_that_kills_its_worker_each_time_becomes_a_dead_letter_and_no_neighbour_does(
    tmp_path: Path,
) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    (tmp_path / "forebay.yaml").write_text(CONFIGURATION)
    names = [f"job {number:03d}." for number in range(NEIGHBOURS)]
    names.insert(NEIGHBOURS // 2, "poison")
    async with http() as session, started("serve", "--no-worker", "--port", "0", folder=tmp_path) as server:
        ids = await submit(session, server.address, [order(name, target="killer") for name in names])
        deaths = 0
        while await _is_any_live(tmp_path):
            worker = await start_worker(folder=tmp_path)
            ending = asyncio.create_task(until_ended(tmp_path))
            dying = asyncio.create_task(worker.process.wait())
            await asyncio.wait({ending, dying}, return_when=asyncio.FIRST_COMPLETED)
            deaths += dying.done()
            assert deaths < MOST_DEATHS
            for task in (ending, dying):
                task.cancel()
            await asyncio.gather(ending, dying, return_exceptions=True)
            assert await worker.terminate() in {0, -signal.SIGKILL}
        assert await server.terminate() == 0
    jobs = await checked(tmp_path, ids)
    poison = jobs.pop(ids[names.index("poison")])
    assert poison.error is not None
    assert (poison.status, poison.error.code) == (Status.FAILED, ErrorCode.POISON)
    assert {job.status for job in jobs.values()} == {Status.SUCCEEDED}


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
async def test_worker_processes_end_with_a_server_that_is_killed_and_are_started_again_when_they_are(
    tmp_path: Path,
) -> None:
    async with started("mock-model", "--port", "0", "--latency-ms", "30", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address)
        server = await start("serve", "--workers", "2", "--port", "0", folder=tmp_path)
        try:
            await until(lambda: _have_registered(tmp_path, 2))
            first = _children(server.process.pid)
            os.kill(first[0], signal.SIGKILL)
            ids = await submit(session, server.address, [order(f"job {number:03d}.") for number in range(80)])
            await until(lambda: _is_changed(server.process.pid, first))
        finally:
            children = _children(server.process.pid)
            await server.kill()
        await until(lambda: _are_gone([*first, *children]))
        async with started("serve", "--port", "0", folder=tmp_path) as again:
            await until_ended(tmp_path)
            assert await again.terminate() == 0
        jobs = await checked(tmp_path, ids)
        assert {job.status for job in jobs.values()} == {Status.SUCCEEDED}


async def _is_any_live(folder: Path) -> bool:
    async with opened(folder) as store:
        return bool(await store.jobs.find(JobQuery(tenant=None, statuses=LIVE, limit=1)))


async def _have_registered(folder: Path, count: int) -> bool:
    async with opened(folder) as store:
        return len(await store.jobs.workers()) >= count


async def _is_changed(pid: int, before: list[int]) -> bool:
    now = _children(pid)
    return len(now) == len(before) and now != before


async def _are_gone(pids: list[int]) -> bool:
    return not any(map(_is_worker, pids))


def _children(pid: int) -> list[int]:
    """The worker processes of a server."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return sorted(child for child in found if _is_worker(child))


def _is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"--guarded" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False

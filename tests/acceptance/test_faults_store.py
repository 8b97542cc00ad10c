"""The store in trouble under a running server: a clear error while it lasts, and nothing acknowledged is lost."""

import asyncio
import contextlib
import json
import os
import random
import resource
import sqlite3
import sys
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import pytest

from forebay.domain.job import Status
from forebay.testing.processes import LONGEST_SECONDS

from .faults_support import (
    STORE,
    checked,
    configure,
    counted,
    hold,
    http,
    let_go,
    opened,
    order,
    submit,
    until,
    until_ended,
)
from .processes import Running, started
from .run_support import forebay

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
SPARE_FILES = 3
SEED = 5


async def try_to_submit(session: aiohttp.ClientSession, server: str, name: str, **fields: Any) -> tuple[int, Any]:
    async with session.post(f"{server}/v1/jobs", json=order(name, **fields)) as reply:
        return reply.status, await reply.json()


async def until_accepted(session: aiohttp.ClientSession, server: str, name: str) -> str:
    """Repeats under the same key, as clients do."""
    async with asyncio.timeout(LONGEST_SECONDS):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                status, view = await try_to_submit(session, server, name)
                if status == 202:
                    return str(view["id"])
            await asyncio.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
async def test_a_full_disk_refuses_new_work_and_loses_no_answer(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            await hold(session, mock.address)
            ids = await submit(session, server.address, [order(f"job {number:03d}.") for number in range(16)])
            await until(lambda: _has_calls(session, mock, 16))
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            status, error = await try_to_submit(session, server.address, "refused")
            assert (status, error["error"]["code"]) == (503, "store_unavailable")
            await let_go(session, mock.address)
            await until(lambda: _is_said(server, "apply"))
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, UNLIMITED)
            ids.append(await until_accepted(session, server.address, "after"))
            await until_ended(tmp_path)
            assert await server.terminate() == 0
        jobs = await checked(tmp_path, ids, await counted(session, mock.address))
        assert {(job.status, len(job.attempts)) for job in jobs.values()} == {(Status.SUCCEEDED, 1)}


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit and /proc are Linux's")
async def test_file_descriptors_used_up_cost_no_job_an_attempt(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", "--latency-ms", "20", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            await _get(session, f"{server.address}/readyz")  # the connection is kept; no target was called yet
            pid = server.process.pid
            used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
            before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + SPARE_FILES, before[1]))
            large = [
                order(f"large {number} " + "x" * 100_000, idempotency_key=f"large {number}") for number in range(20)
            ]  # bodies that are blobs
            accepted: list[str] = []
            for one in large:
                try:
                    status, view = await _post(session, server.address, one)
                except aiohttp.ClientError:
                    continue  # no descriptor for a connection
                if status == 202:
                    accepted.append(view["id"])
                else:
                    assert status == 503
                    assert view["error"]["code"] in {"store_unavailable", "server_overloaded"}
            small = [order(f"small {number:03d}.") for number in range(40)]
            status = await _bulk(session, server.address, small)
            assert status in {200, 503}
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            accepted += await _submitted(session, server.address, small)  # the same keys
            await until_ended(tmp_path)
            assert await server.terminate() == 0
        jobs = await checked(tmp_path, accepted, await counted(session, mock.address))
        assert {(job.status, job.attempts_used) for job in jobs.values()} == {(Status.SUCCEEDED, 0)}


def test_a_file_that_is_not_ours_or_is_newer_or_damaged_is_refused_in_one_sentence(tmp_path: Path) -> None:
    configure(tmp_path, "http://127.0.0.1:9/v1")
    store = tmp_path / STORE
    foreign = sqlite3.connect(store)
    foreign.execute("CREATE TABLE theirs (a)")
    foreign.close()
    _refused(tmp_path, "another program")
    _refused(tmp_path, "another program", "worker")
    store.write_bytes(b"no database at all, but long enough to be taken for one" * 40)
    _refused(tmp_path, "not a Forebay store")
    store.unlink()
    asyncio.run(_made(tmp_path))
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    _refused(tmp_path, "newer")


async def test_a_damaged_page_is_told_and_never_taken_for_an_absent_job(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            ids = await submit(session, server.address, [order(f"job {number:04d}.") for number in range(400)])
            await until_ended(tmp_path)
            assert await server.terminate() == 0
        _damage(tmp_path / STORE)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            replies = [await _get(session, f"{server.address}/v1/jobs/{job_id}") for job_id in ids]
            assert await server.terminate() == 0
    assert {status for status, _ in replies} == {200, 503}, "some rows stand on the page, and some don't"
    for status, view in replies:
        if status == 503:
            assert "damaged" in view["error"]["message"]


def test_a_store_that_can_t_be_written_is_refused_in_one_sentence(tmp_path: Path) -> None:
    configure(tmp_path, "http://127.0.0.1:9/v1")
    (tmp_path / STORE).mkdir()  # what binds root too: no file can be made there
    _refused(tmp_path, "can't be opened")


def _refused(folder: Path, sentence: str, *command: str) -> None:
    ended = forebay(*(command or ("serve", "--port", "0")), cwd=folder)
    assert ended.code == 2, ended
    assert sentence in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert "Traceback" not in ended.err


def _damage(path: Path) -> None:
    """Overwrites a page of the table of results, in the middle."""
    connection = apsw.Connection(str(path))
    [[size]] = connection.execute("PRAGMA page_size").fetchall()
    pages = connection.execute(
        "SELECT pageno FROM dbstat WHERE name = 'results' AND pagetype = 'leaf' ORDER BY pageno"
    ).fetchall()
    connection.close()
    with path.open("r+b") as file:
        file.seek((int(str(pages[len(pages) // 2][0])) - 1) * int(str(size)))
        file.write(random.Random(SEED).randbytes(int(str(size))))


async def _made(folder: Path) -> None:
    async with opened(folder):
        pass


async def _post(session: aiohttp.ClientSession, server: str, body: dict[str, Any]) -> tuple[int, Any]:
    async with session.post(f"{server}/v1/jobs", json=body) as reply:
        return reply.status, await reply.json()


async def _submitted(session: aiohttp.ClientSession, server: str, orders: list[dict[str, Any]]) -> list[str]:
    """Repeats under the same keys while connections of before are still being reset."""
    async with asyncio.timeout(LONGEST_SECONDS):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                return await submit(session, server, orders)
            await asyncio.sleep(0.05)


async def _bulk(session: aiohttp.ClientSession, server: str, orders: list[dict[str, Any]]) -> int:
    try:
        async with session.post(f"{server}/v1/jobs/bulk", data="\n".join(map(json.dumps, orders))) as reply:
            await reply.read()
            return reply.status
    except aiohttp.ClientError:  # no descriptor for a connection
        return 503


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with session.get(url) as reply:
        return reply.status, await reply.json()


async def _has_calls(session: aiohttp.ClientSession, mock: Running, calls: int) -> bool:
    return bool((await counted(session, mock.address))["total"] >= calls)


async def _is_said(running: Running, *texts: str) -> bool:
    return any(text in line for line in running.log for text in texts)

"""A damaged file, page by page: what can be read is right, what can't is said to be damaged, nothing is invented."""

import asyncio
import json
import random
import socket
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import pytest

from .faults_support import STORE, checked, configure, history_of, http, opened, order, submit, until_ended
from .processes import started
from .run_support import forebay

SEED = 11
JOBS = 300
PAGES = {
    "a leaf of the jobs": ("jobs", "leaf"),
    "an inner page of the jobs": ("jobs", "internal"),
    "a leaf of the attempts": ("attempts", "leaf"),
    "an index": ("jobs_key", "leaf"),
}


@pytest.mark.parametrize("name", PAGES)
async def test_a_damaged_page_is_said_to_be_damaged_and_never_answered_wrongly(name: str, tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            ids = await submit(session, server.address, _orders())
            await until_ended(tmp_path)
            assert await server.terminate() == 0
        _damage(tmp_path / STORE, *PAGES[name])
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            replies = [await _get(session, f"{server.address}/v1/jobs/{job_id}") for job_id in ids[::5]]
            again = await _again(session, server.address)
            assert await server.terminate() in {0, 1}
    assert {status for status, _ in replies} <= {200, 503}
    for place, (status, view) in enumerate(replies):
        if status == 200:
            assert (view["id"], view["status"]) == (ids[place * 5], "succeeded")
        else:
            assert "damaged" in view["error"]["message"]
    for known, line in zip(ids, again, strict=False):
        assert line.get("id") == known or "damaged" in line["error"]["message"], line


async def test_a_damaged_header_is_refused_in_one_sentence(tmp_path: Path) -> None:
    configure(tmp_path, "http://127.0.0.1:9/v1")
    async with opened(tmp_path):
        pass
    content = bytearray((tmp_path / STORE).read_bytes())
    content[:100] = random.Random(SEED).randbytes(100)
    (tmp_path / STORE).write_bytes(content)
    ended = await asyncio.to_thread(forebay, "serve", "--port", "0", cwd=tmp_path)
    assert ended.code == 2
    assert "not a Forebay store" in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err


async def test_a_log_that_is_damaged_in_its_middle_leaves_a_whole_store(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            ids = await submit(session, server.address, _orders())
            await server.kill()
        log = tmp_path / f"{STORE}-wal"
        content = bytearray(log.read_bytes())
        content[len(content) // 2] ^= 0xFF
        log.write_bytes(content)
        history = await history_of(tmp_path)
        assert set(history.jobs) <= set(ids)
        connection = apsw.Connection(str(tmp_path / STORE))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        await checked(tmp_path, list(history.jobs), is_over=False)


async def test_a_port_that_is_taken_is_refused_in_one_sentence(tmp_path: Path) -> None:
    configure(tmp_path, "http://127.0.0.1:9/v1")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = str(one.getsockname()[1])
        ended = await asyncio.to_thread(forebay, "serve", "--port", port, cwd=tmp_path)
    assert ended.code == 2
    said = [line for line in ended.err.splitlines() if line.startswith("forebay: ")]
    assert len(said) == 1
    assert "name a free --port" in said[0]
    assert "Traceback" not in ended.err


def _orders() -> list[dict[str, Any]]:
    return [order(f"job {number:04d}.") for number in range(JOBS)]


def _damage(path: Path, table: str, kind: str) -> None:
    connection = apsw.Connection(str(path))
    [[size]] = connection.execute("PRAGMA page_size").fetchall()
    query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = ? ORDER BY pageno"
    pages = [int(str(row[0])) for row in connection.execute(query, (table, kind))]
    connection.close()
    assert pages, f"{table} has no {kind} page"
    with path.open("r+b") as file:
        file.seek((pages[len(pages) // 2] - 1) * int(str(size)))
        file.write(random.Random(SEED).randbytes(int(str(size))))


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with session.get(url) as reply:
        return reply.status, await reply.json()


async def _again(session: aiohttp.ClientSession, server: str) -> list[dict[str, Any]]:
    """The same keys once more: a reply for each line, or one for all."""
    data = "\n".join(json.dumps(one) for one in _orders())
    async with session.post(f"{server}/v1/jobs/bulk", data=data) as reply:
        assert reply.status in {200, 503}
        return [json.loads(line) for line in (await reply.text()).splitlines()]

"""Ctrl-C in every command that can wait or work: exit 130, one sentence, no traceback, nothing left running; where the
first one asks for an end in good order, the second ends it at once.
"""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from forebay.processes import exists
from forebay.testing.processes import ADDRESS, AT_ONCE, LONGEST_SECONDS, WORKER, Running

from .faults_support import checked, configure, counted, http, order, submit, until, until_in_flight
from .processes import started

ENDING_SECONDS = 25  # below the 30 of a drain
AGAIN_SECONDS = 0.05
JOB, BATCH = "job_01m7yg00000000000000000000", "batch_01m7yg00000000000000000000"
REQUEST = '{"model": "mock", "messages": []}'
# Commands over HTTP, against a server that takes connections and never says a word.
OVER_HTTP = {
    "jobs submit": ("jobs", "submit", "--model", "mock", "--body", REQUEST),
    "jobs get": ("jobs", "get", JOB),
    "jobs wait": ("jobs", "wait", JOB),
    "jobs list": ("jobs", "list"),
    "jobs cancel": ("jobs", "cancel", JOB),
    "jobs retry": ("jobs", "retry", JOB),
    "batches create": ("batches", "create", "in.jsonl"),
    "batches list": ("batches", "list"),
    "batches get": ("batches", "get", BATCH),
    "batches wait": ("batches", "wait", BATCH),
    "batches results": ("batches", "results", BATCH, "-o", "out.jsonl"),
    "batches cancel": ("batches", "cancel", BATCH),
    "batches retry": ("batches", "retry", BATCH),
    "dead-letters list": ("dead-letters", "list"),
    "dead-letters show": ("dead-letters", "show", JOB),
    "dead-letters retry": ("dead-letters", "retry", "--all"),
    "dead-letters purge": ("dead-letters", "purge", JOB),
    "targets list": ("targets", "list"),
    "run --server": ("run", "in.jsonl", "-o", "out.jsonl", "--model", "mock"),
}
DRAINED = {
    "serve": (("serve", "--port", "0"), ADDRESS),
    "serve --workers": (("serve", "--workers", "2", "--port", "0"), ADDRESS),
    "worker": (("worker",), WORKER),
    "run": (("run", "in.jsonl", "-o", "out.jsonl", "--model", "mock"), AT_ONCE),
}
LINE = f'{{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {REQUEST}}}\n'


@pytest.mark.parametrize("name", OVER_HTTP)
async def test_a_command_that_waits_for_a_server_ends_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(LINE)
    async with _silent_server() as (address, is_asked):
        command = (*OVER_HTTP[name], "--server", address)
        async with started(*command, folder=tmp_path, ready=AT_ONCE) as running:
            await asyncio.wait_for(is_asked.wait(), LONGEST_SECONDS)
            await _interrupted(running)
    assert set(os.listdir(tmp_path)) <= {"in.jsonl", "out.jsonl.partial.jsonl"}


@pytest.mark.parametrize("name", DRAINED)
async def test_what_works_off_jobs_says_that_it_stops_and_ends_at_once_when_asked_again(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text(LINE)
    command, ready = DRAINED[name]
    async with started("mock-model", "--port", "0", "--fault", "1", "--fault-kind", "hang", folder=tmp_path) as mock:
        configure(tmp_path, mock.address)
        async with (
            http() as session,
            started("serve", "--no-worker", "--port", "0", folder=tmp_path) as server,
            started(*command, folder=tmp_path, ready=ready) as running,
        ):
            ids = await submit(session, server.address, [order(f"job {number}.") for number in range(3)])
            await until_in_flight(session, mock.address, 3)
            children = _children(running.process.pid)
            running.send(signal.SIGINT)
            await until(lambda: _says(running, "Stopping"))
            assert running.is_alive, "calls are under way"
            await _interrupted(running, within_seconds=ENDING_SECONDS)
            await until(lambda: _are_gone(children))
            jobs = await checked(tmp_path, ids, await counted(session, mock.address), is_over=False)
        assert {job.status.value for job in jobs.values()} <= {"queued", "running"}


async def test_a_mock_model_ends_at_once(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as running:
        await _interrupted(running)


async def test_a_check_of_targets_ends_at_once(tmp_path: Path) -> None:
    async with _silent_server() as (address, is_asked):
        configure(tmp_path, f"{address}/v1")
        async with started("targets", "check", folder=tmp_path, ready=AT_ONCE) as running:
            await asyncio.wait_for(is_asked.wait(), LONGEST_SECONDS)
            await _interrupted(running)


async def test_a_bench_ends_at_once_with_its_children(tmp_path: Path) -> None:
    command = ("bench", "--only", "durable", "--jobs", "1000000")
    async with started(*command, folder=tmp_path, ready=AT_ONCE) as running:
        await until(lambda: _has_children(running))
        children = _children(running.process.pid)
        await _interrupted(running)
        await until(lambda: _are_gone(children))


async def test_a_pull_ends_at_once_and_keeps_nothing(tmp_path: Path) -> None:
    async with _silent_server() as (address, is_asked):
        environment = {"FOREBAY_CACHE": str(tmp_path / "cache"), "PIP_INDEX_URL": f"{address}/simple"}
        command = ("models", "pull", "smollm2-135m")
        async with started(*command, folder=tmp_path, ready=AT_ONCE, **environment) as running:
            await asyncio.wait_for(is_asked.wait(), LONGEST_SECONDS)
            children = _children(running.process.pid)
            await _interrupted(running)
            await until(lambda: _are_gone(children))
    assert [name for name in os.listdir(tmp_path / "cache") if "pull" in name] == []


async def _interrupted(running: Running, within_seconds: float = LONGEST_SECONDS) -> None:
    """Ctrl-C, and again while it still ends; then it must have said one sentence about it, and no more."""
    async with asyncio.timeout(within_seconds):
        ended = asyncio.create_task(running.process.wait())
        while not ended.done():
            running.send(signal.SIGINT)
            await asyncio.wait({ended}, timeout=AGAIN_SECONDS)
    said = await running.said()
    assert ended.result() == 130, said
    assert not any("Traceback" in line for line in said), said
    assert len([line for line in said if re.match(r"forebay: (Interrupted|Stopping|stopped)", line)]) in {1, 2}, said


@asynccontextmanager
async def _silent_server() -> AsyncIterator[tuple[str, asyncio.Event]]:
    is_asked = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if await reader.read(1):
            is_asked.set()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", is_asked
    finally:
        server.close()
        for writer in writers:
            writer.close()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


async def _has_children(running: Running) -> bool:
    return bool(_children(running.process.pid))


async def _are_gone(pids: list[int]) -> bool:
    return not any(map(exists, pids))


async def _says(running: Running, text: str) -> bool:
    return any(text in line for line in running.log)

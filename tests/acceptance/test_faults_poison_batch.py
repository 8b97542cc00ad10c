"""Lines of a batch that kill the process that runs them, each in its own way: dead letters, and nothing else is."""

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.job import LIVE, ErrorCode, Status
from forebay.domain.query import JobQuery, Parts
from forebay.testing.history import History, violations

from .faults_support import get, history_of, http, opened, order, submit, until
from .processes import start_worker, started

LINES = 501
MOST_DEATHS = 24
KILLS = 6
DEATHS = {100: "sigkill", 250: "exit", 400: "segfault"}
KILLER = """
import asyncio, ctypes, os, signal

CALLS = os.open("calls.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

async def answer(request):
    os.write(CALLS, f"{request.job_id}/{request.attempt}\\n".encode())
    await asyncio.sleep(0.01)
    text = request.body["messages"][0]["content"]
    if "sigkill" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    elif "exit" in text:
        os._exit(3)
    elif "segfault" in text:
        ctypes.string_at(0)
    elif "memory" in text:
        raise MemoryError
    return {"ok": True}
"""
CONFIGURATION = """
store: sqlite:///forebay.db
targets:
  killer: {type: python, function: "killer:answer", models: [mock], limits: {concurrency: 16}}
"""
DEAD = {-signal.SIGKILL, -signal.SIGSEGV, 3}


@pytest.mark.slow
async def test_lines_that_kill_their_workers_become_dead_letters_and_none_of_their_500_neighbours_does(
    tmp_path: Path,
) -> None:
    _configure(tmp_path)
    lines = [_line(number, DEATHS.get(number, "harmless")) for number in range(LINES)]
    async with http() as session, started("serve", "--no-worker", "--port", "0", folder=tmp_path) as server:
        batch = await _post_batch(session, server.address, lines)
        single = await submit(session, server.address, [order("a single memory hog", target="killer", max_attempts=2)])
        await _run_workers(tmp_path)
        view = await get(session, f"{server.address}/v1/batches/{batch}")
        output = await _content(session, server.address, view["output_file_id"])
        errors = await _content(session, server.address, view["error_file_id"])
        assert await server.terminate() == 0
    assert view["status"] == "completed"
    assert view["request_counts"] == {"total": LINES, "completed": LINES - len(DEATHS), "failed": len(DEATHS)}
    poisoned = {f"line-{number}" for number in DEATHS}
    assert {line["custom_id"] for line in errors} == poisoned
    assert {line["error"]["code"] for line in errors} == {ErrorCode.POISON}
    assert {line["custom_id"] for line in output} == {f"line-{number}" for number in range(LINES)} - poisoned
    history = await history_of(tmp_path)
    _is_right(history, tmp_path)
    hog = history.jobs[single[0]]
    assert (hog.status, hog.attempts_used) == (Status.FAILED, 2)
    again = [len(attempts) - sum(_is_unknown(one) for one in attempts) for _, attempts in history.attempts()]
    assert sum(again) <= LINES + 1 + 1, "nobody was called again but who was in flight at a death, and the hog"


@pytest.mark.slow
async def test_a_server_with_worker_processes_outlives_a_line_that_kills_them(tmp_path: Path) -> None:
    _configure(tmp_path)
    lines = [_line(number, "sigkill" if number == LINES // 2 else "harmless") for number in range(LINES)]
    async with http() as session, started("serve", "--workers", "2", "--port", "0", folder=tmp_path) as server:
        batch = await _post_batch(session, server.address, lines)

        async def is_over() -> bool:
            return not await _is_any_live(tmp_path)

        await until(is_over)
        view = await get(session, f"{server.address}/v1/batches/{batch}")
        errors = await _content(session, server.address, view["error_file_id"])
        assert await server.terminate() == 0
    assert (view["status"], view["request_counts"]["completed"]) == ("completed", LINES - 1)
    assert [line["error"]["code"] for line in errors] == [ErrorCode.POISON]
    _is_right(await history_of(tmp_path), tmp_path)


@pytest.mark.slow
async def test_plain_kills_however_many_make_no_dead_letter(tmp_path: Path) -> None:
    _configure(tmp_path)
    lines = [_line(number, "harmless") for number in range(LINES)]
    async with http() as session, started("serve", "--no-worker", "--port", "0", folder=tmp_path) as server:
        batch = await _post_batch(session, server.address, lines)
        for kill in range(KILLS):
            worker = await start_worker(folder=tmp_path)
            seen = await _calls(tmp_path)

            async def have_begun(before: int = seen, more: int = 4 + 8 * kill) -> bool:
                return await _calls(tmp_path) > before + more or not await _is_any_live(tmp_path)

            await until(have_begun)
            await worker.kill()
        await _run_workers(tmp_path)
        view = await get(session, f"{server.address}/v1/batches/{batch}")
        assert await server.terminate() == 0
    assert (view["status"], view["request_counts"]["completed"]) == ("completed", LINES)
    assert _is_right(await history_of(tmp_path), tmp_path) <= LINES + KILLS * 16


def _is_right(history: History, folder: Path) -> int:
    """Calls and ledger agree: no call was made twice, or without its attempt. Returns how many calls there were."""
    assert violations(history) == []
    calls = Counter((folder / "calls.log").read_text().split())
    ledger = {f"{job_id}/{one.number}": one for job_id, attempts in history.attempts() for one in attempts}
    assert set(calls.values()) == {1}
    assert calls.keys() <= ledger.keys()
    assert all(_is_unknown(ledger[name]) for name in ledger.keys() - calls.keys())
    return len(calls)


def _is_unknown(attempt: Attempt) -> bool:
    return attempt.outcome is Outcome.UNKNOWN


def _configure(folder: Path) -> None:
    (folder / "killer.py").write_text(KILLER)
    (folder / "forebay.yaml").write_text(CONFIGURATION)


def _line(number: int, text: str) -> dict[str, Any]:
    body = {"model": "mock", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": f"line-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


async def _post_batch(session: aiohttp.ClientSession, server: str, lines: list[dict[str, Any]]) -> str:
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", "\n".join(map(json.dumps, lines)), filename="lines.jsonl")
    async with session.post(f"{server}/v1/files", data=form) as reply:
        file_id = (await reply.json())["id"]
    asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    async with session.post(f"{server}/v1/batches", json=asked) as reply:
        assert reply.status == 200, await reply.text()
        return str((await reply.json())["id"])


async def _content(session: aiohttp.ClientSession, server: str, file_id: str) -> list[dict[str, Any]]:
    async with session.get(f"{server}/v1/files/{file_id}/content") as reply:
        return [json.loads(line) for line in (await reply.text()).splitlines()]


async def _run_workers(folder: Path) -> None:
    """One worker after the other, until nothing is live."""
    for _ in range(MOST_DEATHS):
        worker = await start_worker(folder=folder)

        async def is_over(one: Any = worker) -> bool:
            return not one.is_alive or not await _is_any_live(folder)

        await until(is_over)
        if not await _is_any_live(folder):
            assert await worker.terminate() in {0, *DEAD}
            return
        assert await worker.ended() in DEAD
    raise AssertionError("workers died for ever")


async def _is_any_live(folder: Path) -> bool:
    async with opened(folder) as store:
        return bool(await store.jobs.find(JobQuery(tenant=None, parent_id=None, statuses=LIVE, limit=1, parts=Parts())))


async def _calls(folder: Path) -> int:
    path = folder / "calls.log"
    return await asyncio.to_thread(lambda: path.read_bytes().count(b"\n") if os.path.exists(path) else 0)

"""Signals: drains finish what is under way, Ctrl-C says so, and a worker that stood still changes nothing."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from forebay.domain.job import Status

from .faults_support import checked, configure, counted, history_of, hold, http, let_go, order, outcomes, submit, until
from .faults_support import until_in_flight as in_flight
from .processes import start, start_worker, started, started_worker

CALLS = 5
LEASE_SECONDS = 5  # a busy machine renews within it


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"])
async def test_a_server_that_is_asked_to_end_finishes_its_calls_first(
    tmp_path: Path, ending: signal.Signals, code: int
) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, concurrency=CALLS)
        async with started("serve", "--port", "0", folder=tmp_path) as server:
            await hold(session, mock.address)
            ids = await submit(session, server.address, _orders(2 * CALLS))
            await in_flight(session, mock.address, CALLS)
            server.send(ending)
            await let_go(session, mock.address)
            assert await server.ended() == code
        jobs = await checked(tmp_path, ids, await counted(session, mock.address))
        statuses = [job.status for job in jobs.values()]
        assert statuses.count(Status.SUCCEEDED) >= CALLS
        assert set(statuses) <= {Status.SUCCEEDED, Status.QUEUED}
        assert set(outcomes(jobs.values())) == {"succeeded"}


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_who_awaits_a_call_under_way_gets_its_answer_from_a_server_that_drains(
    tmp_path: Path, workers: str
) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, concurrency=1)
        async with started("serve", "--workers", workers, "--port", "0", folder=tmp_path) as server:
            await hold(session, mock.address)
            first = asyncio.create_task(_ask(session, server.address, "first"))
            await in_flight(session, mock.address, 1)
            second = asyncio.create_task(_ask(session, server.address, "second"))
            await until(lambda: _are_there(tmp_path, 2))
            server.send(signal.SIGTERM)
            assert await second == (503, "server_stopping"), "its job did not run; it goes on elsewhere"
            assert not first.done()
            await let_go(session, mock.address)
            assert await first == (200, "echo: first")
            assert await server.ended() == 0
        assert (await counted(session, mock.address))["by_outcome"] == {"200": 1}


async def test_a_worker_that_is_asked_to_end_finishes_its_calls_and_the_next_takes_the_rest(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, concurrency=CALLS)
        async with started("serve", "--no-worker", "--port", "0", folder=tmp_path) as server:
            async with started_worker(folder=tmp_path) as worker:
                await hold(session, mock.address)
                ids = await submit(session, server.address, _orders(2 * CALLS))
                await in_flight(session, mock.address, CALLS)
                worker.send(signal.SIGTERM)
                await let_go(session, mock.address)
                assert await worker.ended() == 0
            async with started_worker(folder=tmp_path) as worker:
                await until(lambda: _all_succeeded(tmp_path, 2 * CALLS))
                assert await worker.terminate() == 0
            assert await server.terminate() == 0
        jobs = await checked(tmp_path, ids, await counted(session, mock.address))
        assert outcomes(jobs.values()) == {"succeeded": 2 * CALLS}


async def test_a_worker_that_stood_still_beyond_its_lease_changes_nothing(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, lease=LEASE_SECONDS)
        server = await start("serve", "--no-worker", "--port", "0", folder=tmp_path)
        stale = await start_worker(folder=tmp_path)
        try:
            await hold(session, mock.address)
            ids = await submit(session, server.address, _orders(CALLS))
            await in_flight(session, mock.address, CALLS)
            stale.send(signal.SIGSTOP)
            await let_go(session, mock.address)
            async with started_worker(folder=tmp_path) as other:
                await until(lambda: _all_succeeded(tmp_path, CALLS))
                before = (await history_of(tmp_path)).jobs
                stale.send(signal.SIGCONT)
                await until(lambda: _says(stale.log, "leases_lost"))
                [late] = await submit(session, server.address, _orders(1, prefix="late"))
                await until(lambda: _all_succeeded(tmp_path, CALLS + 1))
                assert await other.terminate() == 0
            assert await stale.terminate() == 0
        finally:
            stale.send(signal.SIGCONT)
            await stale.kill()
            await server.kill()
        jobs = await checked(tmp_path, [*ids, late], await counted(session, mock.address))
        for job_id in ids:
            job, known = jobs[job_id], before[job_id]
            assert (job.status, job.result, job.finished_at) == (known.status, known.result, known.finished_at)
            assert len(job.attempts) == 2
            assert job.attempts[0].outcome.value in {"succeeded", "cancelled", "unknown"}


def _orders(count: int, prefix: str = "job") -> list[dict[str, Any]]:
    return [order(f"{prefix} {number:03d}.") for number in range(count)]


async def _all_succeeded(folder: Path, count: int) -> bool:
    jobs = (await history_of(folder)).jobs.values()
    return len(jobs) == count and all(job.status is Status.SUCCEEDED for job in jobs)


async def _ask(session: aiohttp.ClientSession, server: str, text: str) -> tuple[int, str]:
    body = {"model": "mock", "messages": [{"role": "user", "content": text}]}
    async with session.post(f"{server}/v1/chat/completions", json=body) as reply:
        said = await reply.json()
        return reply.status, said["choices"][0]["message"]["content"] if reply.status == 200 else said["error"]["code"]


async def _are_there(folder: Path, count: int) -> bool:
    return len((await history_of(folder)).jobs) == count


async def _says(log: list[str], text: str) -> bool:
    return any(text in line for line in log)

"""Several processes on one file: limits hold over all of them, and the living take over from the dead at once."""

import asyncio
from pathlib import Path

from forebay.engine.heartbeat import EXIT_STILL

from .faults_support import (
    checked,
    configure,
    counted,
    history_of,
    hold,
    http,
    let_go,
    order,
    outcomes,
    submit,
    until,
    until_ended,
)
from .faults_support import until_in_flight as in_flight
from .processes import started, started_worker

JOBS = 240
CAP = 6
AT_ONCE_SECONDS = 150  # below the lease of 300: the dead worker's jobs were not waited for


async def test_two_workers_keep_one_cap_and_one_takes_over_when_the_other_dies(tmp_path: Path) -> None:
    async with (
        started("mock-model", "--port", "0", "--latency-ms", "20", "--jitter", "0.5", folder=tmp_path) as mock,
        http() as session,
    ):
        configure(tmp_path, mock.address, concurrency=CAP, lease=300)
        async with (
            started("serve", "--no-worker", "--port", "0", folder=tmp_path) as server,
            started_worker(folder=tmp_path) as doomed,
            started_worker(folder=tmp_path) as survivor,
        ):
            await hold(session, mock.address, after=JOBS // 2)
            ids = await submit(session, server.address, [order(f"job {number:04d}.") for number in range(JOBS)])
            await in_flight(session, mock.address, CAP)
            await doomed.kill()
            await let_go(session, mock.address)
            await until_ended(tmp_path, seconds=AT_ONCE_SECONDS)
            assert await survivor.terminate() == 0
        calls = await counted(session, mock.address)
        jobs = await checked(tmp_path, ids, calls)
        assert calls["max_in_flight"] <= CAP
        assert set(outcomes(jobs.values())) <= {"succeeded", "unknown"}
        assert outcomes(jobs.values())["unknown"] <= CAP


async def test_two_servers_on_one_file_run_each_job_once(tmp_path: Path) -> None:
    async with started("mock-model", "--port", "0", "--latency-ms", "5", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, concurrency=CAP)
        async with (
            started("serve", "--port", "0", folder=tmp_path) as one,
            started("serve", "--port", "0", folder=tmp_path) as other,
        ):
            orders = [order(f"job {number:04d}.") for number in range(JOBS)]
            # The same keys to both at once: one job each.
            first, second = await asyncio.gather(
                submit(session, one.address, orders), submit(session, other.address, orders)
            )
            assert first == second
            await until_ended(tmp_path)
            assert (await one.terminate(), await other.terminate()) == (0, 0)
        calls = await counted(session, mock.address)
        jobs = await checked(tmp_path, first, calls)
        assert outcomes(jobs.values()) == {"succeeded": JOBS}
        assert calls["max_in_flight"] <= CAP


BLOCKER = """
import pathlib, time

async def answer(request):
    while pathlib.Path("block").exists():
        time.sleep(0.01)
    return {"ok": True}
"""
BLOCKED = """
store: sqlite:///forebay.db
lease_seconds: 3
targets:
  blocker: {type: python, function: "blocker:answer", models: [mock], limits: {concurrency: 8}}
"""


async def test_a_worker_whose_event_loop_stands_still_keeps_its_leases_and_is_ended_by_its_watchdog(
    tmp_path: Path,
) -> None:
    (tmp_path / "blocker.py").write_text(BLOCKER)
    (tmp_path / "forebay.yaml").write_text(BLOCKED)
    block = tmp_path / "block"
    block.touch()
    async with http() as session, started("serve", "--no-worker", "--port", "0", folder=tmp_path) as server:
        async with started_worker(folder=tmp_path) as stuck:
            [job_id] = await submit(session, server.address, [order("one", target="blocker")])
            await until(lambda: _has_attempts(tmp_path, 1))
            async with started_worker(folder=tmp_path) as other:
                assert await stuck.ended() == EXIT_STILL
                kept = (await history_of(tmp_path)).jobs[job_id]
                assert [attempt.outcome.value for attempt in kept.attempts][:1] in (["running"], ["unknown"])
                assert any("stands still" in line for line in await stuck.said())
                block.unlink()
                await until_ended(tmp_path)
                assert await other.terminate() == 0
        assert await server.terminate() == 0
    jobs = await checked(tmp_path, [job_id])
    assert [attempt.outcome.value for attempt in jobs[job_id].attempts] == ["unknown", "succeeded"]


async def _has_attempts(folder: Path, count: int) -> bool:
    return sum(len(job.attempts) for job in (await history_of(folder)).jobs.values()) >= count

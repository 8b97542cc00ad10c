"""Several processes on one file: nothing is claimed twice, nothing acknowledged is lost, the dead are noticed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from forebay.domain.change import Want, Worker
from forebay.domain.job import Job, Status
from forebay.domain.query import JobQuery
from forebay.processes import is_gone, started_at
from forebay.stores.sqlite import SqliteStore, open_store
from forebay.testing.clock import FakeClock
from tests.unit.stores_sqlite.conftest import QUEUE

LANE_CAP = 7
PRELUDE = """
import asyncio, os, sys, time
from forebay.domain.change import Change, Want, Worker
from forebay.domain.ids import IdSource
from forebay.domain.job import Job, Status
from forebay.stores.sqlite import open_store

class Clock:
    def now(self): return time.time()

QUEUE, IDS = "target:mill", IdSource()

def make():
    now = time.time()
    return Job(id=IDS.new("job"), kind="infer", queue=QUEUE, created_at=now, due_at=now, deadline=now + 3600)
"""
ADDER = """
async def main():
    store = await open_store(sys.argv[1], clock=Clock())
    async def loop():
        while True:
            job = make()
            await store.jobs.add([job])
            os.write(1, (job.id + "\\n").encode())
    await asyncio.gather(*(loop() for _ in range(8)))
asyncio.run(main())
"""
CLAIMER = """
async def main():
    store = await open_store(sys.argv[1], clock=Clock())
    worker, done = Worker(id=sys.argv[2], lease_seconds=300), []
    await store.jobs.renew(worker)
    idle = 0
    while idle < 20:
        claimed = await store.jobs.claim(worker, [Want(queue=QUEUE, lane="mill", slots=5, cap=7)])
        idle = 0 if claimed else idle + 1
        await store.jobs.apply([Change(job_id=c.job.id, fence=c.fence, status=Status.SUCCEEDED) for c in claimed])
        done += [c.job.id for c in claimed]
    await store.jobs.retire(worker)
    await store.close()
    print("\\n".join(done))
asyncio.run(main())
"""


def _start(program: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", PRELUDE + program, *arguments], stdout=subprocess.PIPE, text=True)


def _read_lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


async def test_a_process_killed_while_it_commits_loses_nothing_that_it_acknowledged(
    path: Path, clock: FakeClock
) -> None:
    process = _start(ADDER, str(path))
    acknowledged = await asyncio.to_thread(_read_lines, process, 400)
    process.send_signal(signal.SIGKILL)
    rest, _ = await asyncio.to_thread(process.communicate)
    acknowledged += [line for line in rest.splitlines() if len(line) == len(acknowledged[0])]
    store = await open_store(path, clock=clock)
    assert None not in await store.jobs.get(None, acknowledged)
    [(verdict,)] = store._backend._writer._connection.execute("PRAGMA integrity_check").fetchall()
    assert verdict == "ok"
    found = await store.jobs.find(JobQuery(tenant=None, limit=100_000))
    [depth] = await store.jobs.depths()
    assert depth.queued == len(found) >= len(acknowledged)
    await store.close()


async def test_three_processes_claim_each_job_once(path: Path, store: SqliteStore, make: Callable[..., Job]) -> None:
    jobs = [make() for _ in range(600)]
    far = [replace(job, deadline=4e9, due_at=0.0) for job in jobs]
    await store.jobs.add(far)
    processes = [_start(CLAIMER, str(path), f"worker-{n}") for n in range(3)]
    outputs = await asyncio.gather(*(asyncio.to_thread(process.communicate) for process in processes))
    claimed = [line for output, _ in outputs for line in output.split()]
    assert sorted(claimed) == sorted(job.id for job in jobs)
    assert {job.status for job in await store.jobs.find(JobQuery(tenant=None, limit=1000))} == {Status.SUCCEEDED}


async def test_a_lanes_cap_holds_over_all_open_stores(
    path: Path, store: SqliteStore, clock: FakeClock, make: Callable[..., Job]
) -> None:
    await store.jobs.add([make() for _ in range(30)])
    others = [await open_store(path, clock=clock) for _ in range(3)]
    want = [Want(queue=QUEUE, lane="mill", slots=5, cap=LANE_CAP)]
    claims = await asyncio.gather(
        *(one.jobs.claim(Worker(id=f"worker-{n}"), want) for n, one in enumerate([store, *others]))
    )
    assert sum(map(len, claims)) == LANE_CAP
    for other in others:
        await other.close()


async def test_a_watch_over_two_thousand_jobs_hears_of_another_process(
    path: Path, store: SqliteStore, clock: FakeClock, make: Callable[..., Job]
) -> None:
    jobs = [make() for _ in range(2000)]
    await store.jobs.add(jobs)
    other = await open_store(path, clock=clock)
    watch = store.jobs.watch(f"job:{job.id}" for job in jobs)
    await other.jobs.cancel("default", [jobs[1234].id])
    assert await watch.next(10) == {f"job:{jobs[1234].id}"}
    watch.close()
    await other.close()


async def test_the_leases_of_a_process_that_no_longer_exists_are_freed_at_once(
    path: Path, clock: FakeClock, make: Callable[..., Job]
) -> None:
    gone: set[str] = set()
    store = await open_store(path, clock=clock, is_gone=lambda worker: worker.id in gone)
    await store.jobs.add([make()])
    worker = Worker(id="worker-1")
    await store.jobs.renew(worker)
    assert len(await store.jobs.claim(worker, [Want(queue=QUEUE, lane="mill", slots=1)])) == 1
    assert (await store.jobs.recover()).rescued == 0
    gone.add("worker-1")
    assert (await store.jobs.recover()).rescued == 1
    await store.close()


def test_a_process_is_gone_when_its_pid_is_free_or_another_processs() -> None:
    me = Worker(id="w", host=socket.gethostname(), pid=os.getpid(), pid_started=started_at(os.getpid()))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_gone(me)
    assert is_gone(replace(me, pid=ended.pid))
    assert not is_gone(replace(me, pid=ended.pid, host="elsewhere"))
    if me.pid_started:
        assert is_gone(replace(me, pid_started="1"))

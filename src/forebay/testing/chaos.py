"""Chaos: a server and workers under load, killed, stopped and drained at random; then the history is checked.

The short form is an acceptance test, the long one ``python -m forebay.testing.soak``. One seed is one order of events.
"""

import asyncio
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from forebay.app import SystemClock
from forebay.blobs.files import open_blobs
from forebay.domain.batch import BATCH
from forebay.domain.ids import IdSource
from forebay.domain.job import LIVE, Status
from forebay.domain.query import JobQuery
from forebay.ports import BlobStore, JobStore
from forebay.stores.sqlite import open_store
from forebay.testing.calls import Calls, mismatches
from forebay.testing.history import History, read_history, violations
from forebay.testing.processes import Running, start, start_worker

LEASE_SECONDS = 2
PAUSE_SECONDS = 0.05  # between submissions
LARGEST_BURST = 12
STANDSTILL_SECONDS = 60.0  # nothing ends for so long: something is lost
RETRY_SECONDS = 0.05
CONFIGURATION = """
store: sqlite:///forebay.db
lease_seconds: {lease}
log_level: error
targets:
  mock: {{type: openai, base_url: "{mock}", models: [mock], limits: {{concurrency: {concurrency}}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long, how large, and in which order."""

    seed: int
    seconds: float
    workers: int = 2
    concurrency: int = 16
    batch_lines: int = 300
    mock: tuple[str, ...] = ("--latency-ms", "20", "--jitter", "0.5")


@dataclass(slots=True)
class Report:
    """What happened, and what is wrong with it."""

    events: list[str] = field(default_factory=list)
    accepted: int = 0
    calls: int = 0
    max_in_flight: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


class Chaos:
    """One run. ``say`` is told of every event as it happens."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._chance = random.Random(plan.seed)
        self._report = Report()
        self._accepted: dict[str, str] = {}
        self._server: Running | None = None
        self._workers: list[Running] = []
        self._is_submitting = True

    async def run(self) -> Report:
        """Lets it all happen, waits for the end of all work, and checks."""
        mock = await start("mock-model", "--port", "0", *self._plan.mock, folder=self._folder)
        try:
            text = CONFIGURATION.format(mock=mock.address, lease=LEASE_SECONDS, concurrency=self._plan.concurrency)
            (self._folder / "forebay.yaml").write_text(text)
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
                await self._start_all()
                await self._break_things(session)
                await self._finish(session, mock.address.removesuffix("/v1"))
        finally:
            for running in [mock, *self._workers, *([self._server] if self._server else [])]:
                running.send(signal.SIGCONT)
                await running.kill()
        return self._report

    async def _start_all(self) -> None:
        self._server = await self._start_server()
        self._workers = [await start_worker(folder=self._folder) for _ in range(self._plan.workers)]

    async def _start_server(self) -> Running:
        return await start("serve", "--no-worker", "--port", "0", folder=self._folder)

    async def _break_things(self, session: aiohttp.ClientSession) -> None:
        batch = asyncio.create_task(self._start_batch(session))
        submitting = asyncio.create_task(self._submit(session))
        loop = asyncio.get_running_loop()
        end = loop.time() + self._plan.seconds
        acts = (self._kill_server, self._kill_worker, self._stop_worker, self._drain_worker, self._kill_all)
        while loop.time() < end:
            await asyncio.sleep(self._chance.uniform(0.2, 1.5))
            act = self._chance.choices(acts, weights=(3, 4, 2, 2, 1))[0]
            self._event(act.__name__.strip("_"))
            await act()
        self._is_submitting = False
        await asyncio.gather(batch, submitting)

    async def _kill_server(self) -> None:
        assert self._server is not None
        await self._server.kill()
        self._server = await self._start_server()

    async def _kill_worker(self) -> None:
        place = self._chance.randrange(len(self._workers))
        await self._workers[place].kill()
        self._workers[place] = await start_worker(folder=self._folder)

    async def _stop_worker(self) -> None:
        """Stands still beyond its lease: the others take its jobs, and then it wakes with answers in its hands."""
        worker = self._chance.choice(self._workers)
        worker.send(signal.SIGSTOP)
        await asyncio.sleep(LEASE_SECONDS * self._chance.uniform(0.5, 2.0))
        worker.send(signal.SIGCONT)

    async def _drain_worker(self) -> None:
        place = self._chance.randrange(len(self._workers))
        self._expect_0(await self._workers[place].terminate())
        self._workers[place] = await start_worker(folder=self._folder)

    async def _kill_all(self) -> None:
        assert self._server is not None
        for running in (self._server, *self._workers):
            await running.kill()
        await self._start_all()

    async def _submit(self, session: aiohttp.ClientSession) -> None:
        """In bursts, so that a kill finds calls in flight and jobs waiting; one by one and in bulk."""
        number = 0
        while self._is_submitting:
            names = [f"job {number + place:08d}." for place in range(self._chance.randint(1, LARGEST_BURST))]
            number += len(names)
            orders = [
                {"body": {"model": "mock", "messages": [{"role": "user", "content": name}]}, "idempotency_key": name}
                for name in names
            ]
            if len(orders) == 1:
                views = [await self._post(session, "/v1/jobs", json=orders[0])]
            else:
                lines = b"\n".join(map(msgspec.json.encode, orders))
                views = await self._post(session, "/v1/jobs/bulk", data=lambda lines=lines: lines)
            self._accepted.update(zip(names, [view["id"] for view in views], strict=True))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _start_batch(self, session: aiohttp.ClientSession) -> None:
        lines = [
            msgspec.json.encode(
                {
                    "custom_id": f"line-{number}",
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {"model": "mock", "messages": [{"role": "user", "content": f"line {number}"}]},
                }
            )
            for number in range(self._plan.batch_lines)
        ]
        file = await self._upload(session, b"\n".join(lines))
        body = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        await self._post(session, "/v1/batches", json=body, headers={"idempotency-key": "the batch"})

    async def _upload(self, session: aiohttp.ClientSession, content: bytes) -> Any:
        def form() -> aiohttp.FormData:
            data = aiohttp.FormData()
            data.add_field("purpose", "batch")
            data.add_field("file", content, filename="lines.jsonl")
            return data

        return await self._post(session, "/v1/files", data=form, headers={"idempotency-key": "the file"})

    async def _post(self, session: aiohttp.ClientSession, path: str, **options: Any) -> Any:
        """Repeats, under the same key, what was not acknowledged."""
        form = options.pop("data", None)
        while True:
            assert self._server is not None
            try:
                data = form() if form else None
                async with session.post(self._server.address + path, data=data, **options) as reply:
                    if reply.status < 300:
                        return _decoded(await reply.read())
                    if reply.status != 503:
                        raise RuntimeError(f"{path}: {reply.status} {await reply.text()}")
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(RETRY_SECONDS)

    async def _finish(self, session: aiohttp.ClientSession, mock: str) -> None:
        clock = SystemClock()
        store = await open_store(self._folder / "forebay.db", clock=clock)
        try:
            blobs = await open_blobs(self._folder / "forebay.db.blobs", clock=clock, ids=IdSource(clock.now))
            await self._all_ended(store.jobs)
            for worker in self._workers:
                self._expect_0(await worker.terminate())
            async with session.get(f"{mock}/mock/calls?ids=1") as reply:
                counted = await reply.json()
            await self._check(store.jobs, blobs, counted)
        finally:
            await store.close()

    async def _all_ended(self, jobs: JobStore) -> None:
        query = JobQuery(tenant=None, parent_id=None, statuses=LIVE, limit=1000)
        loop = asyncio.get_running_loop()
        before, since = -1, loop.time()
        while live := len(await jobs.find(query)):
            if live != before:
                before, since = live, loop.time()
            if loop.time() - since > STANDSTILL_SECONDS:
                self._report.violations.append(f"{live} jobs stand still")
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _check(self, jobs: JobStore, blobs: BlobStore, counted: dict[str, Any]) -> None:
        history = await read_history(jobs, blobs)
        report = self._report
        report.accepted, report.calls = len(self._accepted), counted["total"]
        report.max_in_flight = counted["max_in_flight"]
        report.outcomes = {str(outcome): times for outcome, times in history.outcomes().items()}
        accepted = self._accepted.values()
        report.violations += violations(history, accepted=accepted)
        report.violations += mismatches(history, Calls.of(counted))
        report.violations += self._of_answers(history)

    def _of_answers(self, history: History) -> list[str]:
        found: list[str] = []
        if len(set(self._accepted.values())) != len(self._accepted):
            found.append("two keys share a job")
        for name, job_id in self._accepted.items():
            job = history.jobs.get(job_id)
            if job is not None and job.status is not Status.SUCCEEDED:
                found.append(f"{job_id} is {job.status}: {job.error}")
            elif job is not None and (job.result is None or name not in (job.result.body.text or "")):
                found.append(f"{job_id} has another's answer")
        roots = [job for job in history.jobs.values() if not job.parent_id]
        batches = [job for job in roots if job.kind == BATCH]
        if len(batches) != 1 or len(roots) != len(self._accepted) + 1:
            found.append(f"{len(self._accepted)} jobs and a batch were accepted, {len(roots)} are there")
        expected = {f"line-{number}" for number in range(self._plan.batch_lines)}
        found += [f"{job.id} lacks lines" for job in batches if set(history.outputs[job.id]) != expected]
        return found

    def _expect_0(self, code: int) -> None:
        if code:
            self._report.violations.append(f"a drained worker ended with {code}")

    def _event(self, text: str) -> None:
        self._report.events.append(text)
        self._say(text)


def _decoded(body: bytes) -> Any:
    """A JSON object, or a list of those of an NDJSON body."""
    views = [msgspec.json.decode(line) for line in body.splitlines() if line]
    return views if len(views) > 1 else views[0]

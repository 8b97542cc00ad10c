"""The real engine on PostgreSQL while that is stopped, started, killed in part and cut off: nothing lost, no hang."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest

from forebay.app import SystemClock
from forebay.domain.change import Want, Worker
from forebay.domain.errors import StoreUnavailable
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.job import LIVE
from forebay.domain.order import Order
from forebay.domain.query import JobQuery
from forebay.engine.intake import make_job
from forebay.engine.patience import until_stored
from forebay.engine.services import Services
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.ports import JobStore, Rate
from forebay.stores.postgres import check, migrate, open_store, read_place
from forebay.testing.cutting import CuttingProxy
from forebay.testing.history import read_history, violations
from forebay.testing.postgres import PostgresServer, postgres_server
from forebay.testing.system import open_services
from forebay.testing.targets import ScriptedTarget

JOBS, PER_ADD = 500, 5
PATIENCE_SECONDS = 90.0
TIMEOUT_SECONDS = 3
BODY = '{"model":"t-model","messages":[{"role":"user","content":"Hello"}]}'
_schemas = count()

Trouble = Callable[[int], Awaitable[None]]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One of its own: it is treated badly."""
    with postgres_server() as server:
        yield server


@pytest.fixture
async def proxy(server: PostgresServer) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def query(server: PostgresServer) -> str:
    """What stands behind the address of a store of the test's own."""
    query = f"?schema=s{next(_schemas)}&timeout={TIMEOUT_SECONDS}"
    await migrate(read_place(server.url() + query))
    return query


class SlowTarget(ScriptedTarget):
    """Answers after a moment, so that calls are under way when trouble comes."""

    async def call(self, call: Call, sink: object = None) -> InferenceResult:
        await asyncio.sleep(0.01)
        return await super().call(call)


class Storm:
    """Two workers, each with a store of its own, and someone who adds jobs; trouble comes as calls are made."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self._targets = [SlowTarget("t"), SlowTarget("t")]
        self.accepted: list[str] = []

    async def run(self, trouble: Trouble, *, times: int) -> list[str]:
        """Returns what the history says is not so."""
        async with AsyncExitStack() as stack:
            services: list[Services] = []
            for target in self._targets:
                store = await open_store(self._url)
                opened = open_services(self._folder, [target], clock=SystemClock(), store=store)
                services.append(await stack.enter_async_context(opened))
            async with asyncio.timeout(PATIENCE_SECONDS):
                for one in services:
                    worker = WorkerProcess(one, WorkerOptions(lease_seconds=2.0, drain_seconds=5.0))
                    await stack.enter_async_context(worker)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._add(services[0]))
                    group.create_task(self._make(trouble, times))
                await self._until_all_ended(services[0].jobs)
            history = await read_history(services[0].jobs, services[0].blobs)
            return [*violations(history, accepted=self.accepted), *await check(read_place(self._url))]

    async def _add(self, services: Services) -> None:
        for _ in range(JOBS // PER_ADD):
            jobs = [await make_job(Order(body=BODY, target="t"), services) for _ in range(PER_ADD)]
            added = await until_stored("add", lambda jobs=jobs: services.jobs.add(jobs))
            self.accepted += [one.id for one in added]

    async def _make(self, trouble: Trouble, times: int) -> None:
        for turn in range(times):
            while sum(len(target.calls) for target in self._targets) < JOBS * (turn + 1) / (times + 2):
                await asyncio.sleep(0.01)
            await trouble(turn)

    async def _until_all_ended(self, jobs: JobStore) -> None:
        live = JobQuery(tenant=None, parent_id=None, statuses=frozenset(LIVE), limit=1)
        while await until_stored("find", lambda: jobs.find(live)):
            await asyncio.sleep(0.1)


async def test_a_server_that_is_stopped_and_started_under_load_costs_nothing(
    server: PostgresServer, query: str, tmp_path: Path
) -> None:
    async def restart(turn: int) -> None:
        await asyncio.to_thread(server.stop, is_immediate=turn % 2 == 0)
        await asyncio.to_thread(server.start)

    assert await Storm(server.url() + query, tmp_path).run(restart, times=4) == []


async def test_backends_that_are_ended_and_killed_under_load_cost_nothing(
    server: PostgresServer, query: str, tmp_path: Path
) -> None:
    async def kill(turn: int) -> None:
        if turn % 3 < 2:
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'forebay%'"
            await asyncio.to_thread(server.run, sql)
            return
        sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'forebay writer' LIMIT 1"
        while not (victim := await asyncio.to_thread(server.run, sql)):  # it may be connecting again just now
            await asyncio.sleep(0.02)
        os.kill(int(victim), signal.SIGKILL)  # the server takes all down and recovers

    assert await Storm(server.url() + query, tmp_path).run(kill, times=6) == []


async def test_a_network_that_is_cut_under_load_costs_nothing(
    server: PostgresServer, proxy: CuttingProxy, query: str, tmp_path: Path
) -> None:
    async def cut(_: int) -> None:
        proxy.cut()
        await asyncio.sleep(TIMEOUT_SECONDS + 1)  # until whoever waits has given up: that is the trouble
        await proxy.mend()

    assert await Storm(server.url(port=proxy.port) + query, tmp_path).run(cut, times=2) == []


async def test_every_verb_says_in_time_that_the_server_is_away_and_works_when_it_is_back(
    server: PostgresServer, proxy: CuttingProxy, query: str
) -> None:
    store = await open_store(server.url(port=proxy.port) + query)
    worker = Worker(id="w")
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: store.jobs.renew(worker),
        lambda: store.jobs.claim(worker, [Want(queue="q", lane="q", slots=1, cap=1)]),
        lambda: store.jobs.get(None, ["job_x"]),
        lambda: store.jobs.recover(),
        lambda: store.records.get("default", "file", "f"),
        lambda: store.limits.reserve(Rate(name="r", per_second=1, burst=1), 1),
    ]
    for verb in verbs:
        await verb()

    async def refused(verb: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(StoreUnavailable):
            await verb()

    for begin, end in ((proxy.cut, proxy.mend), (server.stop, None)):
        begin()
        async with asyncio.timeout(TIMEOUT_SECONDS * 4):  # some wait for each other on one connection
            await asyncio.gather(*(refused(verb) for verb in verbs))
        if end is None:
            await asyncio.to_thread(server.start)
        else:
            await end()
        async with asyncio.timeout(PATIENCE_SECONDS):
            for verb in verbs:
                await until_stored("any", verb)
    await store.close()


async def test_closing_a_store_whose_server_is_away_ends_in_time(
    server: PostgresServer, proxy: CuttingProxy, query: str
) -> None:
    store = await open_store(server.url(port=proxy.port) + query)
    await store.jobs.renew(Worker(id="w"))
    proxy.cut()
    async with asyncio.timeout(TIMEOUT_SECONDS * 10):
        await store.close()

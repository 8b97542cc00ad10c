"""A store that comes back: who lives is heard before any is taken for dead, and who starts just then goes on."""

import asyncio
from typing import Any

import pytest

from forebay.domain.change import Pruned, Recovered
from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Status
from forebay.engine import maintenance
from forebay.engine.maintenance import Maintenance
from forebay.testing.targets import ScriptedTarget

from .conftest import OpenEngine
from .faulty import faulty, moves_on, until, with_jobs


class Away:
    """A store whose verbs fail until it is back; it remembers what it was asked."""

    def __init__(self, times: int) -> None:
        self._times = times
        self.asked: list[str] = []
        self.is_swept = asyncio.Event()

    async def recover(self) -> Recovered:
        self._ask("recover")
        self.is_swept.set()
        return Recovered(is_complete=True)

    async def workers(self) -> list[Any]:
        self._ask("workers")
        return []

    async def prune(self, older_than: float) -> Pruned:
        del older_than
        return Pruned(is_complete=True)

    def _ask(self, verb: str) -> None:
        self.asked.append(verb)
        if self._times:
            self._times -= 1
            raise StoreUnavailable("away")


async def test_nobody_sweeps_a_store_that_was_away_before_it_was_seen_to_be_back_and_heartbeats_had_their_time(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "STORE_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(maintenance, "GRACE_SECONDS", 0.01)
    engine = await open_engine(ScriptedTarget("t"))
    jobs = Away(3)
    begun_at = asyncio.get_running_loop().time()
    sweeping = asyncio.create_task(Maintenance(with_jobs(engine.services, jobs), lambda _: None).run())
    async with asyncio.timeout(20):
        await jobs.is_swept.wait()
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    assert jobs.asked == ["recover", "workers", "workers", "workers", "recover"]
    assert asyncio.get_running_loop().time() - begun_at >= maintenance.GRACE_SECONDS


async def test_a_worker_whose_store_goes_away_as_it_starts_registers_later(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    jobs, worker = await faulty(engine)
    jobs.fail("renew", StoreUnavailable("away"))
    job_id = await engine.submit()
    async with worker:
        await until(lambda: moves_on(engine, job_id))
    assert (await engine.get(job_id)).status is Status.SUCCEEDED

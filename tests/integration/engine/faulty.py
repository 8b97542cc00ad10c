"""A store that fails on demand, and what the tests of faults wait for."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from forebay.domain.attempt import Outcome
from forebay.domain.change import Claimed
from forebay.domain.job import Job
from forebay.engine.services import Services
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.ports import JobStore
from forebay.testing.history import read_history, violations

from .conftest import Engine


class Faulty:
    """The real store, of which named verbs fail as often as they are told to; ``after``: once their commit is done."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._faults: dict[str, list[Exception]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.waiting = asyncio.Event()

    def fail(self, verb: str, *errors: Exception) -> None:
        self._faults.setdefault(verb, []).extend(errors)

    def hold(self, verb: str) -> asyncio.Event:
        """Lets the verb's reply, and not its commit, wait for the event."""
        self.gates[verb] = asyncio.Event()
        return self.gates[verb]

    def __getattr__(self, verb: str) -> Any:
        real = getattr(self._jobs, verb)
        if verb not in self._faults and verb not in self.gates:
            return real

        async def call(*arguments: Any, **options: Any) -> Any:
            if self._faults.get(verb):
                raise self._faults[verb].pop(0)
            reply = await real(*arguments, **options)
            if verb in self.gates:
                self.waiting.set()
                await self.gates[verb].wait()
            return reply

        return call


async def faulty(engine: Engine, **options: Any) -> tuple[Faulty, WorkerProcess]:
    """A worker whose store fails on demand; the engine's own reads don't."""
    jobs = Faulty(engine.services.jobs)
    services = with_jobs(engine.services, jobs)
    worker = WorkerProcess(services, WorkerOptions(**options))
    await engine.services.jobs.renew(worker.worker)
    return jobs, worker


def with_jobs(services: Services, jobs: Any) -> Services:
    fields = {name: getattr(services, name) for name in services.__dataclass_fields__}
    return Services(**{**fields, "jobs": jobs})


async def until(claim: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await claim():
            await asyncio.sleep(0)


async def is_right(engine: Engine, *accepted: str) -> None:
    history = await read_history(engine.services.jobs, engine.services.blobs)
    assert violations(history, accepted=accepted) == []


async def moves_on(engine: Engine, job_id: str) -> bool:
    """Lets fake time pass until the job has ended."""
    engine.clock.advance(0.01)
    return (await engine.get(job_id)).is_terminal


async def is_true(claim: Callable[[], bool]) -> bool:
    return claim()


async def all_begun(engine: Engine, job_ids: Collection[str]) -> None:
    async def have_begun() -> bool:
        jobs = [await engine.get(job_id) for job_id in job_ids]
        return all(any(one.outcome is Outcome.RUNNING for one in job.attempts) for job in jobs)

    await until(have_begun)


def claimed_job(fence: int) -> Claimed:
    return Claimed(job=Job(id=f"job_{fence}", kind="k", queue="q", created_at=0, deadline=1), fence=fence, lane="t")

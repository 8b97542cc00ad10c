"""Servers that share a store and a configuration of pipelines, a clock, and a hand that ends runs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from forebay.domain.change import Change, Verdict, Want, Worker
from forebay.domain.job import Job, Status
from forebay.domain.lane import CONTROL
from forebay.domain.pipeline import PIPELINE, Overlap, Pipeline, RunArgs, StepKind, StepSpec, run_args
from forebay.domain.query import JobQuery
from forebay.engine.scheduler import Scheduler
from forebay.engine.services import Services
from forebay.policy.triggers import read_triggers
from forebay.ports import Clock
from forebay.stores.sqlite import open_store
from forebay.testing.clock import FakeClock
from forebay.testing.conformance.world import OpenedStore
from forebay.testing.system import open_services
from tests.integration.postgres_house import empty_place, opened_at, server

STEP = StepSpec(name="load", kind=StepKind.READ, options={"path": "x.csv"})


def pipeline(name: str = "weekly", on: Any = None, **fields: Any) -> Pipeline:
    """A pipeline of one step that starts by the triggers given."""
    return Pipeline(name=name, steps=(STEP,), triggers=read_triggers(on, name), **fields)


def allowing(name: str = "weekly", on: Any = None, **fields: Any) -> Pipeline:
    """The same, with runs beside runs."""
    return pipeline(name, on, overlap=Overlap.ALLOW, **fields)


@dataclass
class House:
    """One store. ``server`` opens one more process on it."""

    clock: FakeClock
    open_one: Callable[[Clock], Awaitable[OpenedStore]]
    folder: Path
    stack: AsyncExitStack
    servers: list[Services] = field(default_factory=list)

    async def server(self, *pipelines: Pipeline, clock: Clock | None = None) -> Services:
        services = await self.stack.enter_async_context(
            open_services(self.folder, [], clock=clock or self.clock, store=await self.open_one(self.clock))
        )
        services = replace(services, pipelines={one.name: one for one in pipelines})
        self.servers.append(services)
        return services

    async def scheduler(self, *pipelines: Pipeline) -> Scheduler:
        return Scheduler(await self.server(*pipelines))

    async def runs(self) -> list[Job]:
        """All runs, the oldest first."""
        return await runs_of(self.servers[0])

    async def fire_times(self, start: float) -> list[float]:
        """When the runs' firings were, in seconds after ``start``."""
        return [at - start for at in await fire_times_of(self.servers[0])]

    async def end_runs(self) -> int:
        """Ends every run that is queued as succeeded."""
        jobs, worker = self.servers[0].jobs, Worker(id="hand", queues=(CONTROL,))
        await jobs.renew(worker)
        claimed = await jobs.claim(worker, [Want(queue=CONTROL, lane=CONTROL, slots=1000)])
        changes = [Change(job_id=one.job.id, fence=one.fence, status=Status.SUCCEEDED) for one in claimed]
        assert await jobs.apply(changes) == [Verdict.APPLIED] * len(changes)
        return len(changes)


def args_of(run: Job) -> RunArgs:
    return run_args(run.spec.args)


async def runs_of(services: Services) -> list[Job]:
    """All runs of the store, the oldest first."""
    query = JobQuery(tenant="default", kinds=frozenset({PIPELINE}), limit=20_000, is_ascending=True)
    return await services.jobs.find(query)


async def fire_times_of(services: Services) -> list[float]:
    """When the runs' firings were."""
    return [at for run in await runs_of(services) if (at := args_of(run).trigger.fire_time) is not None]


@asynccontextmanager
async def opened_house(folder: Path, back_end: str) -> AsyncIterator[House]:
    """``back_end``: sqlite (a file) or postgresql."""
    clock = FakeClock()
    if back_end == "sqlite":

        async def open_one(clock: Clock) -> OpenedStore:
            return await open_store(folder / "forebay.db", clock=clock)
    else:
        place = await empty_place(server().url())

        async def open_one(clock: Clock) -> OpenedStore:
            return await opened_at(place, clock)

    async with AsyncExitStack() as stack:
        yield House(clock=clock, open_one=open_one, folder=folder, stack=stack)

"""An engine on a store in memory, a fake clock and scripted targets, stepped by hand."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.job import Job
from forebay.domain.order import Order
from forebay.domain.query import Parts
from forebay.domain.target import Limits, Route, TargetSpec
from forebay.engine.intake import make_job
from forebay.engine.services import Services
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services, scripted_spec
from forebay.testing.targets import ScriptedTarget

ALL = Parts(body=True, result=True, attempts=True, segments=True)
BODY = '{"model":"t-model","messages":[{"role":"user","content":"Hello"}]}'


@dataclass
class Engine:
    """Services, a clock and workers."""

    services: Services
    clock: FakeClock

    async def submit(self, **fields: Any) -> str:
        fields = {"body": BODY, "target": "t", **fields}
        job = await make_job(Order(**fields), self.services)
        [added] = await self.services.jobs.add([job])
        return added.id

    async def get(self, job_id: str) -> Job:
        [job] = await self.services.jobs.get(None, [job_id], ALL)
        assert job is not None
        return job

    async def worker(self, **options: Any) -> WorkerProcess:
        worker = WorkerProcess(self.services, WorkerOptions(**options))
        await self.services.jobs.renew(worker.worker)
        return worker


OpenEngine = Callable[..., Any]


@pytest.fixture
async def open_engine(tmp_path: Path) -> AsyncIterator[OpenEngine]:
    """Opens an engine over the given targets."""
    async with AsyncExitStack() as stack:

        async def open_it(
            *targets: ScriptedTarget,
            limits: Limits | None = None,
            specs: list[TargetSpec] | None = None,
            routes: tuple[Route, ...] = (),
        ) -> Engine:
            clock = FakeClock()
            declared = specs or [_limited(scripted_spec(target.name), limits) for target in targets]
            services = await stack.enter_async_context(
                open_services(tmp_path, targets, specs=declared, routes=routes, clock=clock)
            )
            return Engine(services, clock)

        yield open_it


def _limited(spec: TargetSpec, limits: Limits | None) -> TargetSpec:
    return TargetSpec(
        name=spec.name,
        type=spec.type,
        base_url=spec.base_url,
        models=spec.models,
        limits=limits or Limits(concurrency=4),
    )

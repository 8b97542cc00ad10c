"""A pipeline's run in this process: it brings its own worker, shows the progress, and stops in good order."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec

from forebay.app import System, open_system
from forebay.cli.failures import say
from forebay.cli.run_progress import RunReporter
from forebay.cli.service import STOPPING, StopSignals, opened_system
from forebay.domain.change import Worker
from forebay.domain.errors import ConfigurationError, Interrupted, NotFound
from forebay.domain.job import LIVE, Job
from forebay.domain.pipeline import PIPELINE, run_id
from forebay.domain.query import JobQuery
from forebay.engine.handlers.pipeline.expecting import Forecast, forecast
from forebay.engine.run_views import run_view
from forebay.engine.runs import PIPELINE_MARK, RunOrder, pipeline_named, resume_run, run_named, start_run
from forebay.processes import is_gone
from forebay.settings import Settings

TENANT = "default"
LOOK_SECONDS = 0.5  # hints make it fast
STALE_LEASES = 2.0  # after so many lease lengths without a beat a worker is taken for dead


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWish:
    """What `forebay pipelines run` was asked for."""

    pipeline: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    resume: str | None = None
    from_step: str | None = None
    since: str | None = None
    is_fresh: bool = False
    budget_usd: float | None = None
    is_dry: bool = False
    detach: bool = False

    def check(self) -> None:
        """Raises: ConfigurationError: options that exclude each other."""
        if self.pipeline is None and self.resume is None:
            raise ConfigurationError("Name a pipeline, or a run to --resume")
        if self.pipeline is not None and self.resume is not None:
            raise ConfigurationError("--resume names a run, which knows its pipeline: leave the pipeline's name out")
        if self.resume is not None and (self.params or self.from_step or self.since or self.is_fresh or self.is_dry):
            raise ConfigurationError("--resume goes on with a run as it was begun; only --budget-usd goes with it")
        if self.is_fresh and (self.since or self.from_step):
            raise ConfigurationError("--fresh takes nothing over; it excludes --since and --from")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """How a run stands as the command leaves it."""

    view: dict[str, Any]
    is_interrupted: bool = False


async def forecast_here(settings: Settings, wish: RunWish) -> Forecast:
    """What a run would do and cost. Raises: NotFound, RequestError."""
    async with open_system(settings) as system:
        pipeline = pipeline_named(wish.pipeline or "", system.services)
        return await forecast(pipeline, _order(wish), system.services, tenant=TENANT)


async def run_here(settings: Settings, wish: RunWish, reporter: RunReporter) -> RunEnded:
    """Begins or resumes a run, and follows it to its end. Raises: ConfigurationError, NotFound, RequestError."""
    async with StopSignals(lambda: say(STOPPING)) as signals, opened_system(settings, signals.asked) as system:
        if system is None:
            raise Interrupted("Stopped before the store could be reached")
        if wish.detach:
            return RunEnded(view=await _view(system, await _begun(system, wish)))
        await _left_behind(system, wish)
        async with system.worker():
            job_id = await _begun(system, wish)
            return await _followed(system, job_id, reporter, signals.asked)


async def _begun(system: System, wish: RunWish) -> str:
    services = system.services
    if wish.resume is not None:
        job = await run_named(wish.resume, services, tenant=TENANT)
        await resume_run(job, services, budget_usd=wish.budget_usd)
        return job.id
    return await start_run(pipeline_named(wish.pipeline or "", services), _order(wish), services, tenant=TENANT)


def _order(wish: RunWish) -> RunOrder:
    return RunOrder(
        params=wish.params,
        from_step=wish.from_step,
        since=wish.since,
        is_fresh=wish.is_fresh,
        budget_usd=wish.budget_usd,
    )


async def _left_behind(system: System, wish: RunWish) -> None:
    """Ends runs of the same pipeline whose processes are gone, before a new one: it takes their paid answers over, and
    both side by side would pay twice. A run that other workers serve is left alone.
    """
    if wish.pipeline is None or await _has_workers(system):
        return
    mark = {PIPELINE_MARK: wish.pipeline}
    query = JobQuery(tenant=TENANT, kinds=frozenset({PIPELINE}), statuses=LIVE, metadata=mark, limit=100)
    for run in await system.services.jobs.find(query):
        say(f"{run_id(run.id)} was left by a process that is gone: this run takes over what it has paid for")
        await system.services.jobs.cancel(TENANT, [run.id])


async def _has_workers(system: System) -> bool:
    now = system.services.clock.now()
    return any(_is_alive(worker, now) for worker in await system.services.jobs.workers())


def _is_alive(worker: Worker, now: float) -> bool:
    return not is_gone(worker) and now - worker.heartbeat_at <= STALE_LEASES * worker.lease_seconds


async def _followed(system: System, job_id: str, reporter: RunReporter, asked: asyncio.Event) -> RunEnded:
    watch = system.services.jobs.watch([f"job:{job_id}"])
    try:
        with reporter:
            while True:
                job = await _job(system, job_id)
                view = await _view(system, job_id)
                reporter.update(view)
                if job.is_terminal or asked.is_set():
                    return RunEnded(view=view, is_interrupted=not job.is_terminal)
                await _either(watch.next(LOOK_SECONDS), asked)
    finally:
        watch.close()


async def _either(hint: Any, asked: asyncio.Event) -> None:
    """Waits for a hint or a stop."""
    waits = [asyncio.ensure_future(hint), asyncio.ensure_future(asked.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _job(system: System, job_id: str) -> Job:
    [job] = await system.services.jobs.get(TENANT, [job_id])
    if job is None:
        raise NotFound(f"The run {run_id(job_id)} is gone from the store")
    return job


async def _view(system: System, job_id: str) -> dict[str, Any]:
    view = await run_view(await _job(system, job_id), system.services)
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(view))
    return decoded

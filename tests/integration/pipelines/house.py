"""An installation of a configuration in YAML, whose runs a test does to their ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from forebay.app import System, open_system
from forebay.domain.job import Job
from forebay.domain.pipeline import PIPELINE
from forebay.domain.query import JobQuery
from forebay.engine.run_views import run_view
from forebay.engine.runs import RunOrder, pipeline_named, start_run
from forebay.engine.worker import WorkerProcess
from forebay.settings import load_settings

PATIENCE_SECONDS = 120.0
View = dict[str, Any]


@dataclass
class House:
    """``folder``: where the configuration and the files of its steps are."""

    folder: Path
    system: System
    worker: WorkerProcess

    async def begin(self, pipeline: str, **order: Any) -> str:
        """Makes a run and returns its job's id."""
        services = self.system.services
        return await start_run(pipeline_named(pipeline, services), RunOrder(**order), services)

    async def run(self, pipeline: str, **order: Any) -> View:
        """Makes a run, does what there is to do, and returns its view."""
        job_id = await self.begin(pipeline, **order)
        await self.worker.run_until_idle()
        return await self.view(job_id)

    async def ended(self, job_id: str) -> View:
        """The view of a run when a worker that works beside the test has ended it."""
        watch = self.system.services.jobs.watch([f"job:{job_id}"])
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (await self.job(job_id)).is_terminal:
                    await watch.next(0.5)
        finally:
            watch.close()
        return await self.view(job_id)

    async def job(self, job_id: str) -> Job:
        [job] = await self.system.services.jobs.get("default", [job_id])
        assert job is not None
        return job

    async def view(self, job_id: str) -> View:
        view = await run_view(await self.job(job_id), self.system.services)
        decoded: View = msgspec.json.decode(msgspec.json.encode(view))
        return decoded

    async def runs(self) -> list[Job]:
        query = JobQuery(tenant="default", parent_id=None, kinds=frozenset({PIPELINE}), limit=1000)
        return await self.system.services.jobs.find(query)

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """The rows of a file that a step wrote."""
        with duckdb.connect() as connection:
            return connection.execute(f"SELECT * FROM '{self.folder / name}'").fetchall()


@asynccontextmanager
async def opened(folder: Path, pipelines: str, more: str = "", *, store: str | None = None) -> AsyncIterator[House]:
    """Opens an installation with these pipelines, without a worker's own loops. ``store``: SQLite where it is None."""
    config = folder / "forebay.yaml"
    config.write_text(f"store: {store or f'sqlite:///{folder}/forebay.db'}\n{more}\npipelines:\n{pipelines}")
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(open_system(load_settings(config, {})))
        yield House(folder=folder, system=system, worker=WorkerProcess(system.services, system.worker_options()))

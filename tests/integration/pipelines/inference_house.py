"""An engine whose steps ask a scripted model: records go in as a table, the job is run to its end."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from forebay.app import SystemClock
from forebay.connectors.inference import DuckRequests
from forebay.connectors.parquet import keep_table
from forebay.connectors.tables import DuckTables
from forebay.connectors.workplace import Workplace
from forebay.domain.attempt import Usage
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.job import LIVE, Job, Spec
from forebay.domain.lane import CONTROL
from forebay.domain.pipeline import (
    INFERENCE,
    StepKind,
    StepOutcome,
    StepOutput,
    StepSpec,
    StepWork,
    TableRef,
    step_outcome,
)
from forebay.domain.query import JobQuery, Parts
from forebay.engine.intake import load_text
from forebay.engine.services import Bounds, Services
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services
from forebay.testing.targets import ScriptedTarget

Row = dict[str, Any]
Says = Callable[[str], str]
Answers = Callable[[Call], InferenceResult]


def prompt_of(call: Call) -> str:
    """What the user said first in a chat; what follows tells of an answer that was invalid."""
    messages: list[dict[str, str]] = json.loads(call.body)["messages"]
    return next(message["content"] for message in messages if message["role"] == "user")


def saying(says: Says) -> Callable[[Call], InferenceResult]:
    """A chat model that answers by a function of the prompt."""

    def answer(call: Call) -> InferenceResult:
        body = {"choices": [{"message": {"role": "assistant", "content": says(prompt_of(call))}}]}
        return InferenceResult(
            status_code=200,
            body=json.dumps(body).encode(),
            content_type="application/json",
            usage=Usage(input_tokens=3, output_tokens=2),
            cost_usd=0.5,
        )

    return answer


def spec_of(options: Row, kind: StepKind = StepKind.INFER, **fields: Any) -> StepSpec:
    return StepSpec(name="label", kind=kind, options=options, inputs=("rows",), needs=("rows",), **fields)


@dataclass
class House:
    """Services with tables, a model that is asked, and a worker that is stepped by hand."""

    services: Services
    model: ScriptedTarget
    tables: DuckTables
    clock: FakeClock | SystemClock

    async def table(self, rows: Sequence[Row]) -> TableRef:
        def write(place: Workplace) -> TableRef:
            path, lines = place.path("rows.parquet"), place.path("rows.json")
            lines.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
            with place.connection() as connection:
                connection.execute(f"COPY (FROM read_json('{lines}')) TO '{path}' (FORMAT parquet)")
            return keep_table(place, path)

        return await self.tables.working(write)

    async def emptied(self, table: TableRef) -> TableRef:
        """A table of the same columns, without rows."""

        def write(place: Workplace) -> TableRef:
            path = place.path("empty.parquet")
            with place.connection() as connection:
                connection.execute(
                    f"COPY (FROM read_parquet('{place.local(table.blob_id)}') LIMIT 0) TO '{path}' (FORMAT parquet)"
                )
            return keep_table(place, path)

        return await self.tables.working(write)

    async def job(self, rows: Sequence[Row] | TableRef, step: StepSpec, **fields: Any) -> Job:
        """Adds the job of a step over records."""
        table = rows if isinstance(rows, TableRef) else await self.table(rows)
        return await self.add(self.work(table, step), **fields)

    def work(self, table: TableRef, step: StepSpec, **fields: Any) -> StepWork:
        inputs = {"rows": StepOutput(table=table)}
        return StepWork(run_id="run_1", pipeline="p", step=step, inputs=inputs, scope=SCOPE, **fields)

    async def add(self, work: StepWork, **fields: Any) -> Job:
        now = self.services.clock.now()
        spec = Spec(max_attempts=3, args=msgspec.json.encode(work).decode(), **fields)
        job = Job(
            id=self.services.ids.new("job"),
            kind=INFERENCE,
            queue=CONTROL,
            is_group=True,
            created_at=now,
            due_at=now,
            deadline=now + 86_400.0,
            spec=spec,
        )
        await self.services.jobs.add([job])
        return job

    async def worker(self) -> WorkerProcess:
        worker = WorkerProcess(self.services, WorkerOptions())
        await self.services.jobs.renew(worker.worker)
        return worker

    async def ended(self, job: Job) -> Job:
        """Runs all there is to do, and reads the job again."""
        worker = await self.worker()
        await worker.run_until_idle()
        while not (found := await self.get(job.id)).is_terminal:
            if isinstance(self.clock, FakeClock):
                self.clock.advance(1.0)
            await self.services.jobs.recover()
            await worker.run_until_idle()
        return found

    async def get(self, job_id: str) -> Job:
        [job] = await self.services.jobs.get(None, [job_id], Parts(result=True, segments=True))
        assert job is not None
        return job

    async def outcome(self, job: Job) -> StepOutcome:
        assert job.result is not None
        return step_outcome(await load_text(job.result.body, self.services.blobs))

    async def run(self, rows: Sequence[Row] | TableRef, step: StepSpec, **fields: Any) -> StepOutcome:
        """The outcome of a step that succeeds."""
        job = await self.ended(await self.job(rows, step, **fields))
        assert job.error is None, job.error
        return await self.outcome(job)

    async def until(self, is_true: Callable[[], Awaitable[bool]]) -> None:
        """Waits for what a worker beside the test does."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await is_true():
                await asyncio.sleep(0.01)

    async def over(self, job: Job) -> Job:
        """The job when a worker beside the test has ended it."""

        async def is_over() -> bool:
            return (await self.get(job.id)).is_terminal

        await self.until(is_over)
        return await self.get(job.id)

    async def live(self) -> list[Job]:
        """Jobs that have not ended, whosever child they are."""
        return await self.services.jobs.find(JobQuery(tenant=None, parent_id=None, statuses=LIVE, limit=1000))

    async def rows(self, table: TableRef | None) -> list[Row]:
        return [] if table is None else await self.tables.rows(table, limit=10_000)

    def asked(self) -> list[str]:
        """The prompts so far, and forgets them."""
        prompts = [prompt_of(call) for call in self.model.calls]
        self.model.calls.clear()
        return prompts


PATIENCE_SECONDS = 120.0
SCOPE = {"run": {"id": "run_1", "date": "2026-11-21"}, "params": {"tone": "kind"}}


@asynccontextmanager
async def open_house(
    folder: Path,
    says: Says = str.upper,
    *,
    answering: Answers | None = None,
    others: Sequence[ScriptedTarget] = (),
    is_live: bool = False,
    bounds: Bounds | None = None,
    **store: Any,
) -> AsyncIterator[House]:
    clock = SystemClock() if is_live else FakeClock()
    model = ScriptedTarget("t", [answering or saying(says)])
    async with open_services(folder, [model, *others], bounds=bounds, clock=clock, **store) as services:
        tables = DuckTables(services.blobs, folder / "work")
        try:
            yield House(replace(services, tables=tables, requests=DuckRequests(tables)), model, tables, clock)
        finally:
            await tables.close()

"""Batches of runs in the store on this machine, worked off by a worker in this process."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from forebay.app import System
from forebay.domain.attempt import Usage
from forebay.domain.batch import BATCH, LEDGER, BatchArgs
from forebay.domain.errors import ForebayError
from forebay.domain.file import BATCH_INPUT, FileData
from forebay.domain.job import DEAD, Job, Status
from forebay.domain.query import JobQuery, Parts
from forebay.engine.handlers.batch import BatchOrder, make_batch, put_file
from forebay.engine.handlers.batch.lines import CUSTOM_ID, output_line
from forebay.ports import Watch
from forebay.runs.backend import (
    RUN_FRESH,
    RUN_HOST,
    RUN_NAME,
    RUN_REQUESTS,
    BatchState,
    Fact,
    Lines,
    Piece,
    RunOrder,
    Stream,
)
from forebay.runs.counted import CallCount, counted

TENANT = "default"
LIFESPAN_SECONDS = 30 * 86_400.0  # nobody set a deadline: a slow model may take days
LINES_AT_ONCE = 500


class _LedgerLine(msgspec.Struct, gc=False):
    custom_id: str
    attempts: list[msgspec.Raw]
    usage: Usage | None = None
    cost_usd: float | None = None


_LEDGER_LINE = msgspec.json.Decoder(_LedgerLine)


class LocalBatches:
    """A Backend on an opened system; ``serving`` names the targets that this process calls."""

    def __init__(self, system: System, serving: frozenset[str], *, is_full: bool) -> None:
        self._is_full = is_full
        self.calls = CallCount()
        self._system = counted(system, self.calls)
        self._serving = serving
        self._watch: Watch | None = None
        self._blobs = system.services.blobs
        self._jobs = system.services.jobs

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with self._system.worker(self._system.worker_options(targets=self._serving)):
            yield

    async def earlier(self, name: str) -> list[BatchState]:
        query = JobQuery(tenant=TENANT, kinds=frozenset({BATCH}), metadata={RUN_NAME: name}, limit=100)
        found: list[Job] = []
        while page := await self._jobs.find(query):
            found += page
            query = msgspec.structs.replace(query, after=page[-1].id)
        return [await self._state(job) for job in found]

    async def create(self, order: RunOrder, lines: Lines) -> str:
        services = self._system.services
        blob = await self._blobs.write(lines())
        data = FileData(filename="run.jsonl", purpose=BATCH_INPUT, content_type="application/jsonl")
        file = await put_file(blob, data, services, tenant=TENANT)
        args = BatchArgs(
            input_file_id=file.id,
            input_blob_id=blob.id,
            endpoint=order.endpoint,
            completion_window=f"{LIFESPAN_SECONDS / 86_400:.0f}d",
            target=order.target,
            model=order.model,
            schema=order.schema,
            max_attempts=order.max_attempts,
        )
        job = await make_batch(
            BatchOrder(
                args=args,
                lifespan_seconds=LIFESPAN_SECONDS,
                budget_usd=order.budget_usd,
                metadata=dict(order.metadata),
                key=order.key,
            ),
            services,
            tenant=TENANT,
        )
        [added] = await self._jobs.add([job])
        return added.id  # an earlier one's, whose reply was lost

    async def cancel(self, batch_id: str) -> None:
        await self._jobs.cancel(TENANT, [batch_id])

    async def state(self, batch_id: str) -> BatchState:
        (job,) = await self._jobs.get(TENANT, [batch_id])
        if job is None:
            raise ForebayError(f"The batch {batch_id} is gone from the store")
        return await self._state(job)

    async def lines(self, batch_id: str, stream: Stream, after: int) -> AsyncIterator[Piece]:
        for segment in await self._jobs.segments(batch_id, stream, after=after - 1):
            cursor = segment.number
            facts = await self._facts(batch_id, cursor) if stream is Stream.OUTPUT and self._is_full else {}
            seen: str | None = None
            async for lines in split_lines(self._blobs.read(segment.blob_id)):
                if stream is Stream.ERRORS:
                    seen, facts = await self._dead_facts(batch_id, seen, len(lines))
                yield Piece(cursor=cursor, lines=lines, facts=facts)
            yield Piece(cursor=cursor + 1, lines=[])

    async def unpublished(self, batch_id: str) -> AsyncIterator[Piece]:
        query = JobQuery(
            tenant=TENANT,
            parent_id=batch_id,
            statuses=frozenset({Status.SUCCEEDED}),
            is_collected=False,
            is_ascending=True,
            limit=LINES_AT_ONCE,
            parts=Parts(result=True),
        )
        while page := await self._jobs.find(query):
            yield Piece(cursor=0, lines=[await output_line(job, self._blobs) for job in page])
            query = msgspec.structs.replace(query, after=page[-1].id)

    async def changed(self, batch_id: str, timeout_seconds: float) -> None:
        if self._watch is None:
            self._watch = self._jobs.watch()
        self._watch.add([f"job:{batch_id}"])
        await self._watch.next(timeout_seconds)

    async def unreachable(self, batch_id: str) -> str | None:
        del batch_id  # this worker has no other
        count = self.calls
        return count.reason or "no answer" if count.calls and not count.is_reached else None

    def close(self) -> None:
        """Ends the subscription to the store's hints."""
        if self._watch is not None:
            self._watch.close()

    async def _facts(self, batch_id: str, number: int) -> dict[str, Fact]:
        """The ledger of one output segment: both were written by the same wake, under the same number."""
        facts: dict[str, Fact] = {}
        for segment in await self._jobs.segments(batch_id, LEDGER, after=number - 1):
            if segment.number != number:
                break
            async for lines in split_lines(self._blobs.read(segment.blob_id)):
                for text in lines:
                    line = _LEDGER_LINE.decode(text)
                    facts[line.custom_id] = Fact(attempts=len(line.attempts), usage=line.usage, cost_usd=line.cost_usd)
        return facts

    async def _dead_facts(self, batch_id: str, after: str | None, limit: int) -> tuple[str | None, dict[str, Fact]]:
        """The next dead lines: they stand in the order of the error file."""
        query = JobQuery(tenant=TENANT, parent_id=batch_id, statuses=DEAD, is_ascending=True, after=after, limit=limit)
        page = await self._jobs.find(query)
        facts = {
            job.spec.metadata.get(CUSTOM_ID, ""): Fact(
                attempts=job.attempt_count, usage=job.usage, cost_usd=job.cost_usd
            )
            for job in page
        }
        return (page[-1].id if page else after), facts

    async def _state(self, job: Job) -> BatchState:
        (tally,) = await self._jobs.tally([job.id])
        metadata = job.spec.metadata
        return BatchState(
            id=job.id,
            requests=metadata.get(RUN_REQUESTS, ""),
            is_live=not job.is_terminal,
            is_fresh=RUN_FRESH in metadata,
            host=metadata.get(RUN_HOST, "") if self._jobs.facts.is_shared_between_machines else "",
            succeeded=tally.succeeded,
            failed=tally.failed + tally.cancelled,
            calls=self.calls.calls,
            usage=tally.usage,
            cost_usd=tally.cost_usd,
            problem=job.error.message if job.error is not None and job.is_terminal else None,
        )


async def split_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Cuts a stream into lines without their ends, some hundred at once; blank ones are left out."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        lines = iter([line for line in whole if line.strip()])
        while chunk := list(itertools.islice(lines, LINES_AT_ONCE)):
            yield chunk
    if rest.strip():
        yield [rest]

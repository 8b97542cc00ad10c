"""The state machine of a step that asks models: prepare, ask, gather. Each run is one step; its cursor is the progress.

Every step may run again from the same cursor. What was paid is remembered by its record, which names a batch before
there is one: whatever dies, and when, the next run finds what was answered.
"""

from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from forebay.domain.answer import Answer, Done, Failed, Snooze, Spawn, Taking
from forebay.domain.asking import FAILURES, PLAN, SCOPE, Asking, Begun, PaidMemory, Phase, asking_of
from forebay.domain.attempt import summed
from forebay.domain.content import Segment
from forebay.domain.errors import NotFound, NotSupported, RequestError
from forebay.domain.job import ErrorCode, Job, JobError, Join
from forebay.domain.pipeline import Counts, StepOutcome, StepOutput, step_work, with_contents
from forebay.domain.query import JobQuery
from forebay.engine.context import Context
from forebay.engine.handlers.budget import PRICE_UNKNOWN
from forebay.engine.handlers.inference.harvest import harvest
from forebay.engine.handlers.inference.making import Asks, asks_of, begun_of, make_part, only_input
from forebay.engine.handlers.inference.paid import (
    Changing,
    change_paid,
    read_paid,
    with_answers,
    with_begun,
    with_kept,
)
from forebay.engine.handlers.results import own_result
from forebay.engine.handlers.step import ended
from forebay.engine.services import Services
from forebay.ports.asking import Answers, Gathering, RequestTables, Span

T = TypeVar("T")
AT_ONCE = Join(live=1_000_000)  # met already: there is more to do
ERROR = "error"  # the column of rejected records
LOOK_SECONDS = 1.0  # how often it looks whether another run's batch has ended
MOST_RESTARTS = 5  # in one life of the job
MOST_BATCHES = 1000  # of one job
MOST_LINES = 1_000_000  # of one batch
MOST_BYTES = 2 * 10**9
_ENDS = {  # failures of records that end the step, and what they are to it
    ErrorCode.BUDGET_EXCEEDED: ErrorCode.BUDGET_EXCEEDED,
    PRICE_UNKNOWN: PRICE_UNKNOWN,
    "batch_expired": ErrorCode.EXPIRED,
    "batch_cancelled": ErrorCode.CANCELLED,
}


async def handle_inference(job: Job, context: Context) -> Answer:
    """Does the next step."""
    inference = Inference(job, context.services)
    try:
        return await inference.advance()
    except NotFound as gone:
        if gone.param is not None:  # a target or model that is not there
            return await inference.failed(JobError(code=gone.code, message=gone.message))
        return await inference.begun_anew(gone)
    except RequestError as refused:
        return await inference.failed(JobError(code=refused.code, message=refused.message))


class Inference:
    """One run of the handler."""

    def __init__(self, job: Job, services: Services) -> None:
        self.cursor = asking_of(job.progress)
        self._job = job
        self._work = step_work(job.spec.args)
        self._services = services

    async def advance(self) -> Answer:
        """Raises: RequestError: the step can't be done; NotFound: what was planned with is gone."""
        if self._job.ending is not None:
            return await self._end()
        match self.cursor.phase:
            case Phase.PREPARE:
                return await self._prepare()
            case Phase.ASK:
                return await self._ask()
            case Phase.GATHER:
                return await self._gather()

    async def failed(self, error: JobError) -> Answer:
        """The step failed; a retry begins anew, with all that is paid."""
        return self._ended(Failed(error=error, result=await own_result(self._outcome(StepOutput()), self._services)))

    async def begun_anew(self, gone: NotFound) -> Answer:
        """Another run has rewritten what is paid, and it was swept: what is there now is as good."""
        cursor = _anew(self.cursor)
        if cursor.restarts > MOST_RESTARTS:
            return await self.failed(JobError(code=gone.code, message=f"What the step reads is gone: {gone.message}"))
        return Spawn(join=AT_ONCE, progress=self._encoded(cursor))

    async def _prepare(self) -> Answer:
        """Takes over what earlier runs have brought, and judges every record."""
        asks = asks_of(self._work, self._services)
        own = await self._own_batches()
        if live := [batch.id for batch in own if not batch.is_terminal]:  # retried with this job: it plans anew
            await self._services.jobs.cancel(self._job.tenant, live)
            return Spawn(join=Join(), progress=self._encoded(self.cursor))
        memory, others = await self._settle(await self._with_own(own, asks))
        if others is None or not set(self.cursor.waits_for).isdisjoint(one.batch_id for one in others):
            return Snooze(after_seconds=LOOK_SECONDS, progress=self._encoded(self.cursor))
        tables = self._tables
        table = self.cursor.table
        if table is None:
            named = {name: self._work.inputs[name] for name in asks.asked.columns & self._work.inputs.keys()}
            only = self._work.inputs[only_input(self._work)].table if not asks.is_once else None
            table = only or await tables.of_scope(named)
        since = self._job.created_at if self._work.is_fresh else 0.0  # a fresh run that is resumed has paid itself
        planned = await tables.plan(asks.asked, table, memory.tables, since)
        waits = tuple([one.batch_id for one in others if await tables.shared(planned, one.input_blob_id)])
        failures = await self._services.jobs.segments(self._job.id, FAILURES)
        cursor = replace(self.cursor, failures_after=failures[-1].number if failures else -1)
        cursor = replace(cursor, table=table, waits_for=waits, seen=tuple(one.batch_id for one in others))
        if waits:
            return Snooze(after_seconds=LOOK_SECONDS, progress=self._encoded(cursor))
        segments = [Segment(name=PLAN, blob_id=planned.blob_id, lines=planned.entered, bytes=planned.bytes)]
        if asks.is_once:
            segments.append(Segment(name=SCOPE, blob_id=table.blob_id, lines=table.rows, bytes=table.bytes))
        cursor = replace(cursor, phase=Phase.ASK, planned=planned)
        return Spawn(join=AT_ONCE, progress=self._encoded(cursor), taking=Taking(segments=tuple(segments)))

    async def _with_own(self, own: list[Job], asks: Asks) -> PaidMemory:
        """What is paid, with the batches of earlier rounds: a cancelled one may have gone on as it was retried."""
        memory = await read_paid(self._work, self._services)
        known = {one.batch_id for one in memory.begun}
        for batch in own:
            if batch.id not in known:
                memory = await self._change(partial(with_begun, begun=begun_of(batch, asks)))
        return memory

    async def _settle(self, memory: PaidMemory) -> tuple[PaidMemory, list[Begun] | None]:
        """Takes over every batch that has ended. Returns those of other live runs; None: some are about to end."""
        others: list[Begun] = []
        is_ending = False
        for begun in memory.begun:
            batch, owner = await self._services.jobs.get(self._job.tenant, [begun.batch_id, begun.owner])
            is_owned = owner is not None and not owner.is_terminal and owner.id != self._job.id
            if batch is not None and batch.is_terminal:
                answers, _ = await harvest(begun, batch, self._tables, self._services)
                memory = await self._taken(begun, answers.table)
            elif batch is None and not is_owned:  # never added, or pruned
                memory = await self._taken(begun, None)
            elif is_owned and owner is not None and owner.ending is None:
                others.append(begun)
            else:
                is_ending = True
        return memory, None if is_ending else others

    async def _ask(self) -> Answer:
        """Takes over the batch that has ended, and begins the next."""
        asks = asks_of(self._work, self._services)
        cursor, taking = self.cursor, Taking()
        if cursor.batch is not None:
            batch = await self._batch(cursor.batch)
            if batch is not None and not batch.is_terminal:
                return Spawn(join=Join(), progress=self._encoded(cursor))
            answers, cursor, taking = await self._take_over(cursor.batch, batch)
            self.cursor = cursor
            if batch is not None and batch.error is not None:
                return await self.failed(batch.error)
            for code, means in _ENDS.items():
                if count := answers.codes.get(code, 0):
                    message = f"{count} records were not asked to their end ({code}); what was answered is kept"
                    return await self.failed(JobError(code=means, message=message))
        if cursor.is_all_sent or cursor.planned is None:
            gathering = replace(cursor, phase=Phase.GATHER)
            return Spawn(join=AT_ONCE, progress=self._encoded(gathering), taking=taking)
        return await self._begin(asks, cursor, taking)

    async def _begin(self, asks: Asks, cursor: Asking, taking: Taking) -> Answer:
        services, bounds = self._services, self._services.bounds
        again = await self._failures(taking) if cursor.is_asking_again else ()
        span = Span(
            planned=_there(cursor.planned),
            start=cursor.sent_again if again else cursor.sent,
            most_lines=min(MOST_LINES, bounds.max_batch_lines),
            most_bytes=min(MOST_BYTES, bounds.max_batch_bytes),
            again=again,
        )
        calls = await self._tables.calls(asks.asked, _there(cursor.table), span)
        batch, begun = await make_part(self._job, cursor, asks, calls, services)
        seen = frozenset(cursor.seen)
        while (meanwhile := await self._name(begun, seen)) is not None:
            shared = [one for one in meanwhile if await self._tables.shared(span.planned, one.input_blob_id)]
            if shared:  # they are planned anew when those have ended
                waiting = replace(_anew(cursor), restarts=cursor.restarts, waits_for=tuple(o.batch_id for o in shared))
                return Snooze(after_seconds=LOOK_SECONDS, progress=self._encoded(waiting))
            seen |= {one.batch_id for one in meanwhile}
        sent = "sent_again" if again else "sent"
        cursor = replace(cursor, batch=begun, parts=cursor.parts + 1, **{sent: span.start + calls.records})
        cursor = replace(cursor, seen=tuple(sorted(seen)))
        return Spawn(children=(batch,), join=Join(), progress=self._encoded(cursor), taking=taking)

    async def _name(self, begun: Begun, seen: frozenset[str]) -> list[Begun] | None:
        """Names a batch before there is one; not where others were named meanwhile: these."""
        found: list[Begun] = []

        def name(memory: PaidMemory) -> PaidMemory:
            found[:] = [one for one in memory.begun if one.batch_id not in seen and one.owner != self._job.id]
            return memory if found else with_begun(memory, begun)

        await self._change(name)
        return found or None

    async def _take_over(self, begun: Begun, batch: Job | None) -> tuple[Answers, Asking, Taking]:
        cursor = replace(self.cursor, batch=None)
        if batch is None:
            return Answers(), cursor, Taking()
        answers, calls = await harvest(begun, batch, self._tables, self._services)
        await self._taken(begun, answers.table)
        [tally] = await self._services.jobs.tally([batch.id])
        cursor = replace(
            cursor,
            answered=cursor.answered + answers.answered,
            failed=cursor.failed + answers.failed,
            again=cursor.again + answers.again,
            calls=cursor.calls + calls,
            usage=summed((cursor.usage, tally.usage)),
            cost_usd=cursor.cost_usd if tally.cost_usd is None else tally.cost_usd + (cursor.cost_usd or 0.0),
        )
        blob = answers.failures
        if blob is None:
            return answers, cursor, Taking()
        failed = Segment(name=FAILURES, blob_id=blob.id, lines=answers.failed + answers.again, bytes=blob.bytes)
        return answers, cursor, Taking(segments=(failed,))

    async def _gather(self) -> Answer:
        """Makes the step's output."""
        asks, work, services, cursor = asks_of(self._work, self._services), self._work, self._services, self.cursor
        planned = _there(cursor.planned)
        paid = (await read_paid(work, services)).tables
        output = await self._tables.gather(
            Gathering(
                table=_there(cursor.table),
                planned=planned,
                paid=paid,
                failures=await self._failures(Taking()),
                since=self._job.created_at if work.is_fresh else 0.0,
                schema=asks.asked.request.schema,
                has_branches=asks.has_branches,
                is_vector=asks.is_vector,
                is_once=asks.is_once,
            )
        )
        if paid:
            now, unused = services.clock.now(), services.bounds.result_ttl_seconds
            kept = await self._tables.keep(planned, paid, now, unused)
            if kept is not None:
                await change_paid(work, services, lambda memory: with_kept(memory, paid, kept))
        answer = await ended(work, self._outcome(output), services)
        if isinstance(answer, Failed):
            answer = replace(answer, error=await self._reason(answer.error, output, is_once=asks.is_once))
        return self._ended(answer)

    async def _reason(self, error: JobError, output: StepOutput, *, is_once: bool) -> JobError:
        """Why records failed: of the first, and of all where it was one call."""
        tables = self._services.tables
        if tables is None or output.rejected is None:
            return error
        [row] = await tables.rows(output.rejected, limit=1)
        first = row[ERROR]
        if is_once:
            return JobError(code=first["code"], message=first["message"])
        return JobError(code=error.code, message=f"{error.message}; the first: {first['message']}")

    async def _end(self) -> Answer:
        """It was asked to end: what was answered is kept."""
        if any(not batch.is_terminal for batch in await self._own_batches()):
            return Spawn(join=Join(), progress=self._encoded(self.cursor))
        if self.cursor.batch is not None:
            _, self.cursor, _ = await self._take_over(self.cursor.batch, await self._batch(self.cursor.batch))
        return self._ended(Done(result=await own_result(self._outcome(StepOutput()), self._services)))

    def _ended(self, answer: Done | Failed) -> Done | Failed:
        """The answer, with what was spent since the last end, and the cursor of what a retry begins with."""
        cursor = self.cursor
        usage = cursor.usage
        if usage is not None and cursor.counted_usage is not None:
            usage = usage.minus(cursor.counted_usage)
        cost_usd = None if cursor.cost_usd is None else cursor.cost_usd - cursor.counted_usd
        after = replace(_anew(cursor), restarts=0, counted_usage=cursor.usage, counted_usd=cursor.cost_usd or 0.0)
        return replace(answer, progress=self._encoded(after), usage=usage, cost_usd=cost_usd)

    def _outcome(self, output: StepOutput) -> StepOutcome:
        cursor = self.cursor
        planned = cursor.planned
        paid, refused = (planned.paid, planned.refused) if planned else (0, 0)
        made = output.table
        left = output.rejected
        counts = Counts(
            entered=planned.entered if planned else 0,
            succeeded=paid + cursor.answered if made is None else made.rows,
            failed=(refused + cursor.failed if made is None else 0) if left is None else left.rows,
            reused=paid,
        )
        return StepOutcome(
            output=with_contents(output, self._work.inputs),
            counts=counts,
            usage=cursor.usage,
            cost_usd=cursor.cost_usd,
            calls=cursor.calls,
        )

    @property
    def _tables(self) -> RequestTables:
        if self._services.requests is None:
            raise NotSupported("This process was opened without tables")
        return self._services.requests

    async def _change(self, change: Changing) -> PaidMemory:
        return await change_paid(self._work, self._services, change)

    async def _taken(self, begun: Begun, table: str | None) -> PaidMemory:
        return await self._change(lambda memory: with_answers(memory, begun.batch_id, table))

    async def _batch(self, begun: Begun) -> Job | None:
        [batch] = await self._services.jobs.get(self._job.tenant, [begun.batch_id])
        return batch

    async def _own_batches(self) -> list[Job]:
        """Its children, of all rounds."""
        query = JobQuery(tenant=self._job.tenant, parent_id=self._job.id, limit=MOST_BATCHES, is_ascending=True)
        return await self._services.jobs.find(query)

    async def _failures(self, taking: Taking) -> tuple[str, ...]:
        """Those that are kept, and those about to be."""
        kept = await self._services.jobs.segments(self._job.id, FAILURES, self.cursor.failures_after)
        return tuple(one.blob_id for one in (*kept, *taking.segments))

    @staticmethod
    def _encoded(cursor: Asking) -> str:
        return msgspec.json.encode(cursor).decode()


def _anew(cursor: Asking) -> Asking:
    """The cursor of another round: nothing is known but what is paid."""
    return Asking(
        parts=cursor.parts,
        restarts=cursor.restarts + 1,
        calls=cursor.calls,
        usage=cursor.usage,
        cost_usd=cursor.cost_usd,
        counted_usage=cursor.counted_usage,
        counted_usd=cursor.counted_usd,
    )


def _there(value: T | None) -> T:
    if value is None:
        raise ValueError("the cursor is of an earlier phase")
    return value

"""Kind ``infer``: one model request. One run makes one call, in the ledger before it is sent."""

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from forebay.domain.answer import Answer, Done, Failed, Retry, Snooze
from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.content import Content
from forebay.domain.errors import RemoteFailed, TargetError
from forebay.domain.infer_args import infer_args
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.job import ErrorCode, Job, JobError, Result
from forebay.domain.lane import ROUTE_PREFIX
from forebay.domain.pending import NEW, InferCursor, Submission, infer_cursor
from forebay.domain.spawning import Decomposition
from forebay.engine.context import Context
from forebay.engine.form_files import completed
from forebay.engine.handlers.budget import Budget, Budgets
from forebay.engine.handlers.response_streams import Sink, begins_again, open_sink
from forebay.engine.handlers.results import inline_result, refusal, result_of
from forebay.engine.handlers.slow import (
    again,
    asked,
    ended,
    forget,
    idempotency_key,
    is_passing,
    known_submission,
    submitted,
)
from forebay.engine.handlers.splitting import Resumed, resume, split, with_sums
from forebay.engine.handlers.streams import was_streamed
from forebay.engine.handlers.validation import Validation, with_feedback
from forebay.engine.intake import load_text
from forebay.engine.lanes import Lane, Lanes
from forebay.engine.patience import until_stored
from forebay.engine.services import Services
from forebay.policy.attempts import judge, may_be_charged
from forebay.policy.lifecycle import expired, next_attempt
from forebay.policy.resolution import Candidate, rewrite_model

EMPTY = Content(text="{}")  # the body of a job without one
LONGEST_REST_SECONDS = 3600.0  # for a time window: it may be changed meanwhile


class _Sent(NamedTuple):
    """A call under way: its place in the ledger, and what is to be closed after it."""

    attempt: Attempt
    budget: Budget | None
    sink: Sink | None
    cursor: InferCursor = NEW

    async def close_stream(self) -> bool:
        """Writes the rest of the stream. True if anything of it was ever sent."""
        return self.sink is not None and await until_stored("append", self.sink.close)

    async def settle(self, cost_usd: float | None, tokens: int | None) -> None:
        """Replaces the budget's reservation by the cost."""
        budget = self.budget
        if budget is not None:
            await until_stored("charge", lambda: budget.settle(cost_usd, tokens))


class _Plan(NamedTuple):
    """What is known before a call: from what it is paid, and what came of the calls before it."""

    budget: Budget | None
    cursor: InferCursor


class InferHandler:
    """``Handler`` for one request; the lane that it was claimed for says which target is called."""

    def __init__(self, services: Services, lanes: Lanes) -> None:
        self._services = services
        self._lanes = lanes
        self._budgets = Budgets(services)

    async def __call__(self, job: Job, context: Context) -> Answer:
        spec = job.spec
        lane = self._lanes.by_name[context.claimed.lane]
        if lane.gate and not await lane.gate.passed(context.claimed.fence):
            return Snooze(after_seconds=0.0)
        if spec.stream and not begins_again(job) and await was_streamed(job, self._services):
            return Failed(error=_interrupted())
        resumed: Resumed | None = None
        if job.is_group:
            step = await resume(job, self._services)
            if not isinstance(step, Resumed):
                lane.correct(job.tokens, 0)
                return step
            resumed = step
        remaining = job.deadline - self._services.clock.now()
        if remaining <= 0:
            return Failed(error=expired())
        progress = resumed.cursor.feedback if resumed else job.progress
        cursor = infer_cursor(progress) if progress else NEW
        if job.rescues:
            cursor = await known_submission(job, cursor, self._services)
        call = self._call_of(job, cursor, lane, remaining)
        if cursor.pending is not None:
            return with_sums(await self._poll(job, call, lane, context, cursor), resumed)
        if resumed is None and (seconds := self._seconds_closed(job, lane)) is not None:
            lane.correct(job.tokens, 0)
            return Snooze(after_seconds=seconds)
        body = job.body or EMPTY
        text = body.text if body.text is not None else await load_text(body, self._services.blobs)
        call = replace(
            call,
            body=_rendered(job, text, self._candidate(job, lane), progress),
            children=resumed.children if resumed else {},
        )
        if spec.args is not None:
            call = await completed(call, job, self._services)
        answer = await self._paid(job, call, lane, context, cursor)
        if isinstance(answer, Decomposition):
            return await split(job, answer, resumed, self._services)
        return with_sums(answer, resumed)

    def _seconds_closed(self, job: Job, lane: Lane) -> float | None:
        """How long the job waits for its target's time window: not at all where its deadline would not leave a call its
        time after that.
        """
        now = self._services.clock.now()
        seconds = self._lanes.seconds_closed(lane, job.queue, now)
        if seconds is None or job.deadline < now + seconds + job.spec.timeout_seconds:
            return None
        return min(seconds, LONGEST_REST_SECONDS)

    def _call_of(self, job: Job, cursor: InferCursor, lane: Lane, remaining: float) -> Call:
        """The call without its body."""
        spec = job.spec
        return Call(
            job_id=job.id,
            attempt=job.attempt_count + 1,
            endpoint=spec.endpoint or "",
            body=b"",
            timeout_seconds=min(spec.timeout_seconds, remaining),
            model=self._candidate(job, lane).model or spec.model,
            is_stream=spec.stream,
            metadata=spec.metadata,
            hops=infer_args(spec.args).hops,
            keep=self._services.blobs.write,
            deadline=job.deadline,
            idempotency_key=idempotency_key(job, cursor),
        )

    async def _paid(
        self, job: Job, call: Call, lane: Lane, context: Context, cursor: InferCursor
    ) -> Answer | Decomposition:
        budget = self._budgets.of(job)
        if budget is None:
            return await self._call(job, call, lane, context, _Plan(None, cursor))
        if refused := await budget.reserve(call, lane.spec):
            return refused
        try:
            return await self._call(job, call, lane, context, _Plan(budget, cursor))
        finally:
            budget.release()

    async def _call(self, job: Job, call: Call, lane: Lane, context: Context, plan: _Plan) -> Answer | Decomposition:
        clock = self._services.clock
        attempt = next_attempt(context.claimed, target=lane.name, model=call.model, now=clock.now())
        sink = await open_sink(job, context.claimed.fence, self._services) if call.is_stream else None
        await context.begin(attempt)
        sent = _Sent(attempt, plan.budget, sink, plan.cursor)
        try:
            result = await self._services.targets[lane.name].call(call, sink)
        except TargetError as error:
            now = clock.now()
            lane.observe_error(error, judge(error).outcome, now - attempt.started_at, now)
            answer = await self._failed(job, error, sent, context)
            return ended(answer, plan.cursor) if isinstance(error, RemoteFailed) else answer
        except BaseException:
            now = clock.now()
            lane.observe_broken_off(now - attempt.started_at, now)
            if sink is not None:
                sink.abandon()
            raise
        now = clock.now()
        lane.observe(result, now - attempt.started_at, now)
        lane.correct(job.tokens, result.usage.total_tokens if result.usage else None)
        if result.pending is not None:
            later = await submitted(job, _submission(sent), result.pending, plan.cursor, self._services)
            del context.attempts[attempt.number]  # it goes on: a later run completes it
            return later
        return await self._answered(job, result, sent, context)

    async def _poll(self, job: Job, call: Call, lane: Lane, context: Context, cursor: InferCursor) -> Answer:
        """Asks how the work stands that an earlier run has submitted; no attempt of its own."""
        known = cursor.pending
        assert known is not None, "the caller has looked"  # noqa: S101 - for the type checker
        lane.correct(job.tokens, 0)
        budget = self._budgets.of(job)
        if budget is not None:
            budget.take_up(known.reserved_usd, known.reserved_tokens)
        try:
            return await self._polled(job, call, lane, context, _Sent(known.attempt(job.id), budget, None, cursor))
        finally:
            if budget is not None:
                budget.release()

    async def _polled(self, job: Job, call: Call, lane: Lane, context: Context, sent: _Sent) -> Answer:
        began_at, cursor = self._services.clock.now(), sent.cursor
        try:
            result = await asked(job, call, cursor, self._services)
        except TargetError as error:
            self._observe_poll(lane, sent, error, began_at)
            if is_passing(error):
                return again(error, cursor, self._services)
            return ended(await self._failed(job, error, await self._settling(job, sent), context), cursor)
        except BaseException:
            now = self._services.clock.now()
            lane.observe_broken_off(now - began_at, now)
            raise
        self._observe_poll(lane, sent, None, began_at)
        if isinstance(result, Snooze):
            return result
        answer = await self._answered(job, result, await self._settling(job, sent), context)
        assert not isinstance(answer, Decomposition), "what is polled is no function"  # noqa: S101 - likewise
        return ended(answer, cursor)

    async def _settling(self, job: Job, sent: _Sent) -> _Sent:
        """Its work is not pending any more. Without its budget if that was settled by a run whose answer was lost."""
        is_first = await until_stored("pending", lambda: forget(job, sent.attempt.number, self._services))
        return sent if is_first else sent._replace(budget=None)

    def _observe_poll(self, lane: Lane, sent: _Sent, error: TargetError | None, began_at: float) -> None:
        now = self._services.clock.now()
        if sent.attempt.target == lane.name:
            lane.observe_poll(error, now - began_at, now)
        else:  # on a route, a slot of another target
            lane.observe_broken_off(now - began_at, now)

    async def _answered(
        self, job: Job, result: InferenceResult, sent: _Sent, context: Context
    ) -> Answer | Decomposition:
        """What a 2xx answer does to the job."""
        validation = Validation.of(job) if result.split is None else None
        invalid = validation.reasons(result.body) if validation else None
        context.complete(_ended(sent.attempt, result, invalid, self._services.clock.now()))
        if sent.sink is not None:
            await sent.close_stream()
        if sent.budget is not None:
            tokens = result.usage.total_tokens if result.usage else None
            await sent.settle(*((result.cost_usd, tokens) if result.split is None else (0.0, 0)))
        if result.split is not None:
            return result.split
        # However long the store is away: the answer is paid for, and is not asked for again.
        stored = inline_result(result) or await until_stored("result", lambda: result_of(result, job, self._services))
        if invalid and validation:
            return Retry(
                error=JobError(code=ErrorCode.INVALID_OUTPUT, message=invalid),
                after_seconds=0,
                result=stored,
                progress=validation.feedback(result.body, invalid),
            )
        return Done(result=stored)

    async def _failed(self, job: Job, error: TargetError, sent: _Sent, context: Context) -> Answer:
        judgement = judge(error)
        now = self._services.clock.now()
        context.complete(
            msgspec.structs.replace(
                sent.attempt,
                finished_at=now,
                outcome=judgement.outcome,
                status_code=error.status_code,
                error=error.message,
                usage=error.usage,
                cost_usd=error.cost_usd,
                retry_at=None if judgement.is_final or error.retry_after is None else now + error.retry_after,
            )
        )
        is_cut = await sent.close_stream()
        if not may_be_charged(error) and sent.cursor.pending is None:
            self._lanes.by_name[sent.attempt.target].correct(job.tokens, 0)
            await sent.settle(error.cost_usd or 0.0, error.usage.total_tokens if error.usage else 0)
        elif error.cost_usd is not None or error.usage is not None:
            await sent.settle(error.cost_usd, error.usage.total_tokens if error.usage else None)
        if is_cut and not begins_again(job):
            return Failed(error=_interrupted(error.message))
        failure = JobError(code=error.code or judgement.code, message=error.message)
        answered: Result | None = await until_stored("result", lambda: refusal(error, self._services))
        if judgement.is_final:
            return Failed(error=failure, result=answered)
        has_another = self._has_another(job) and not judgement.is_counted
        return Retry(
            error=failure,
            # On a route the next claim finds another target, or waits for this one's lane: no pause of its own.
            after_seconds=0.0 if has_another else error.retry_after,
            is_counted=judgement.is_counted,
            result=answered,
        )

    def _has_another(self, job: Job) -> bool:
        return job.queue.startswith(ROUTE_PREFIX) and len(self._candidates(job)) > 1

    def _candidates(self, job: Job) -> tuple[Candidate, ...]:
        spec = job.spec
        resolver = self._services.resolver
        return resolver.resolve(target=spec.target, model=spec.model, endpoint=spec.endpoint).candidates

    def _candidate(self, job: Job, lane: Lane) -> Candidate:
        for candidate in self._candidates(job):
            if candidate.target == lane.name:
                return candidate
        return Candidate(target=lane.name, model=None)


def _submission(sent: _Sent) -> Submission:
    """A call that was accepted, as the cursor keeps it."""
    attempt, budget = sent.attempt, sent.budget
    return Submission(
        target=attempt.target,
        number=attempt.number,
        fence=attempt.fence,
        started_at=attempt.started_at,
        model=attempt.model,
        state="",
        budget=budget.name if budget else "",
        reserved_usd=budget.reserved_usd if budget else 0.0,
        reserved_tokens=budget.reserved_tokens if budget else 0,
    )


def _rendered(job: Job, text: str, candidate: Candidate, feedback: str | None) -> bytes:
    """The body as it is sent: with what was wrong with the last answer, and for the candidate's model."""
    if feedback:
        text = with_feedback(job.spec.endpoint or "", text, feedback)
    return rewrite_model(text, candidate.model) if candidate.model else text.encode()


def _ended(attempt: Attempt, result: InferenceResult, invalid: str | None, now: float) -> Attempt:
    """The attempt of a call that was answered."""
    return msgspec.structs.replace(
        attempt,
        finished_at=now,
        outcome=Outcome.INVALID_OUTPUT if invalid else Outcome.SUCCEEDED,
        status_code=result.status_code,
        error=invalid,
        usage=result.usage,
        cost_usd=result.cost_usd,
        model=result.model or attempt.model,
    )


def _interrupted(reason: str = "the worker that streamed it ended") -> JobError:
    message = f"The stream was cut after its first byte ({reason}); it is not sent again"
    return JobError(code=ErrorCode.STREAM_INTERRUPTED, message=message)

"""Runner: runs one claimed job in its handler and turns what comes back, answer or exception, into a Change."""

import asyncio
from collections.abc import Mapping

import msgspec
import structlog

from forebay.domain.answer import Answer, Retry, Snooze
from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.change import Change, Claimed
from forebay.domain.errors import LeaseLost, StoreUnavailable
from forebay.domain.job import TERMINAL, ErrorCode, Job, JobError
from forebay.domain.lane import CONTROL
from forebay.engine.context import Context, Handler
from forebay.engine.couriers import is_delivery
from forebay.engine.finisher import Finisher
from forebay.engine.lanes import OWN_SLOTS
from forebay.engine.ledger import Ledger
from forebay.engine.services import Services
from forebay.policy.lifecycle import broken_off, decide, hand_back

log = structlog.get_logger(__name__)
UNKNOWN_KIND_SECONDS = 60.0  # a job of a newer release waits for a worker that knows its kind


class Runner:
    """Holds the jobs that run in this process, by fence, so that they can be asked to stop.

    Not by id: a job whose lease was lost may be claimed again while its first run still lets go of its call.
    """

    def __init__(self, services: Services, handlers: Mapping[str, Handler], finisher: Finisher) -> None:
        self._services = services
        self._handlers = handlers
        self._finisher = finisher
        self._ledger = Ledger(services.jobs)
        self._running: dict[int, tuple[Context, asyncio.Task[None]]] = {}

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self._handlers)

    async def run(self, claimed: Claimed, task: asyncio.Task[None]) -> None:
        """Runs the job to its answer, in the task that is named. A lost lease, or a stop, ends it without one."""
        job = claimed.job
        context = Context(claimed, self._services, self._ledger.begin)
        self._running[claimed.fence] = (context, task)
        began_at = self._services.clock.now()
        try:
            answer = await self._handlers.get(job.kind, _unknown_kind)(job, context)
        except LeaseLost:
            if context.attempts:  # they end in the ledger; the change itself is fenced off
                self._give_up(claimed, context)
            return
        except asyncio.CancelledError as cancelled:
            if task.cancelling():
                self._stop_or_raise(claimed, context, task)
                return
            log.exception("handler_failed", job_id=job.id, kind=job.kind)  # something inside it was cancelled, not we
            answer = Retry(error=_internal(cancelled))
        except (StoreUnavailable, OSError) as unavailable:  # a full disk, no more file descriptors: no fault of the job
            log.error("store_unavailable", job_id=job.id, reason=str(unavailable))  # noqa: TRY400
            answer = Retry(error=_internal(unavailable), is_counted=False)
        except Exception as error:
            log.exception("handler_failed", job_id=job.id, kind=job.kind)
            answer = Retry(error=_internal(error))
        finally:
            del self._running[claimed.fence]
        self._finish(claimed, context, answer, began_at)

    def stop(self, job_ids: tuple[str, ...]) -> None:
        """Asks running jobs to end: a call is broken off, unless its answer is to be kept. Groups finish their step."""
        if not job_ids:
            return
        named = frozenset(job_ids)
        for context, task in list(self._running.values()):
            job = context.claimed.job
            if job.id not in named or context.is_stopping:
                continue
            context.is_stopping = True
            if not (job.spec.keep_call or context.claimed.lane == CONTROL):
                task.cancel()

    def drop_all(self) -> None:
        """Breaks off everything: the leases are lost, and whoever has them now may be running the same jobs."""
        for context, task in list(self._running.values()):
            context.is_stopping = True
            task.cancel()

    def _stop_or_raise(self, claimed: Claimed, context: Context, task: asyncio.Task[None]) -> None:
        """The task was cancelled: by a stop of its job, which ends here, or with its slot."""
        self._give_up(claimed, context)
        if not context.is_stopping:
            raise asyncio.CancelledError
        while task.cancelling():
            task.uncancel()

    def _finish(self, claimed: Claimed, context: Context, answer: Answer, began_at: float) -> None:
        now = self._services.clock.now()
        attempts = [
            attempt if attempt.finished_at is not None else _unknown(attempt, now)
            for attempt in context.attempts.values()
        ]
        try:
            change = decide(claimed, answer, attempts, now=now, chance=self._services.chance)
        except Exception as error:  # else the lease would be kept for ever, and the job with it
            log.exception("answer_failed", job_id=claimed.job.id, kind=claimed.job.kind)
            change = decide(claimed, Retry(error=_internal(error)), attempts, now=now, chance=self._services.chance)
        self._finisher.put(change)
        self._measure(claimed, change, began_at, now)

    def _measure(self, claimed: Claimed, change: Change, began_at: float, now: float) -> None:
        meters, job = self._services.meters, claimed.job
        for attempt in change.attempts:
            meters.attempt_ended(attempt.target, attempt.model, attempt.outcome, attempt.usage, attempt.cost_usd)
        if change.status in TERMINAL:
            wait = began_at - max(job.due_at, job.created_at)
            target = None if claimed.lane in OWN_SLOTS or is_delivery(claimed.lane) else claimed.lane
            meters.job_ended(job.kind, target, change.status, wait, now - job.created_at)

    def _give_up(self, claimed: Claimed, context: Context) -> None:
        """Hands a broken-off job back; the store ends it instead where it was cancelled."""
        now = self._services.clock.now()
        attempts = [
            broken_off(attempt, now=now) if attempt.finished_at is None else attempt
            for attempt in context.attempts.values()
        ]
        self._finisher.put(hand_back(claimed, attempts, now=now))


async def _unknown_kind(job: Job, _: Context) -> Answer:
    log.error("kind_unknown", job_id=job.id, kind=job.kind)
    return Snooze(after_seconds=UNKNOWN_KIND_SECONDS)


def _unknown(attempt: Attempt, now: float) -> Attempt:
    """A handler that raised in mid-call leaves an attempt of which nobody knows the end."""
    return msgspec.structs.replace(attempt, outcome=Outcome.UNKNOWN, finished_at=now)


def _internal(error: BaseException) -> JobError:
    return JobError(code=ErrorCode.INTERNAL, message=f"{type(error).__name__} in the handler; see the worker's log")

"""Finisher: writes answers to the store, all that came since the last commit at once, and settles the parents."""

import asyncio

import structlog

from forebay.domain.change import Change, Verdict
from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import ErrorCode, JobError, Status
from forebay.engine.patience import until_stored
from forebay.ports import JobStore

log = structlog.get_logger(__name__)


class Finisher:
    """Takes Changes without waiting; ``flushed`` tells when all of them are durable."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._pending: list[Change] = []
        self._lock = asyncio.Lock()  # a step and the loop may flush at once: neither may call the other's work durable
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """How many answers are not durable yet."""
        return len(self._pending)

    def put(self, change: Change) -> None:
        self._pending.append(change)
        self._idle.clear()
        self._wake.set()

    async def flushed(self) -> None:
        """Returns when everything put so far is committed."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commits for ever; ends by cancellation, after ``flushed``."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except Exception:
                log.exception("finish_failed")

    async def flush(self) -> None:
        """Commits what has been put so far."""
        async with self._lock:
            changes = self._pending.copy()  # they stay until they are written: a cancelled flush loses none
            if changes:
                await self.commit(changes)
                del self._pending[: len(changes)]
            if not self._pending:
                self._idle.set()

    async def commit(self, changes: list[Change]) -> None:
        """Applies the changes, trying until the store takes them, then settles: commit first, then wake the parents."""
        verdicts = await self._apply(changes)
        parents = {change.parent_id for change in changes if change.parent_id and change.status.is_terminal}
        parents |= {change.job_id for change in changes if change.status is Status.WAITING}
        lost = sum(verdict is Verdict.LEASE_LOST for verdict in verdicts)
        if lost:
            log.warning("answers_of_lost_leases", jobs=lost)
        if parents:
            await self._settle(parents)

    async def _apply(self, changes: list[Change]) -> list[Verdict]:
        try:
            return await self._write(changes)
        except Exception:
            log.exception("answers_refused", answers=len(changes))
            return [await self._apply_alone(change) for change in changes]

    async def _apply_alone(self, change: Change) -> Verdict:
        """An answer that can't be written holds back no other: its job becomes a dead letter, where that can be."""
        for one in (change, _dead_letter(change)):
            try:
                [verdict] = await self._write([one])
            except Exception:
                log.exception("answer_refused", job_id=change.job_id, status=one.status)
            else:
                return verdict
        return Verdict.LEASE_LOST

    async def _write(self, changes: list[Change]) -> list[Verdict]:
        return await until_stored("apply", lambda: self._jobs.apply(changes))

    async def _settle(self, parents: set[str]) -> None:
        try:
            await self._jobs.settle(parents)
        except StoreUnavailable as unavailable:
            # Not lost: the maintenance sweep wakes joins that are met.
            log.error("store_unavailable", verb="settle", reason=str(unavailable))  # noqa: TRY400
        except Exception:
            log.exception("settle_failed")


def _dead_letter(change: Change) -> Change:
    message = "Its answer could not be written; see the worker's log"
    return Change(
        job_id=change.job_id,
        fence=change.fence,
        parent_id=change.parent_id,
        status=Status.FAILED,
        error=JobError(code=ErrorCode.INTERNAL, message=message),
    )

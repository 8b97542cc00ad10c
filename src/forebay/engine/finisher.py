"""Finisher: writes answers to the store, all that came since the last commit at once, and settles the parents."""

import asyncio

import structlog

from forebay.domain.change import Change, Verdict
from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Status
from forebay.ports import JobStore

log = structlog.get_logger(__name__)
STORE_PAUSE_SECONDS = 0.5  # between tries while the store is away; answers are paid for and must not be lost


class Finisher:
    """Takes Changes without waiting; ``flushed`` tells when all of them are durable."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._pending: list[Change] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

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
            await self.flush()

    async def flush(self) -> None:
        """Commits what has been put so far."""
        changes, self._pending = self._pending, []
        if changes:
            await self.commit(changes)
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
        while True:
            try:
                return await self._jobs.apply(changes)
            except StoreUnavailable as unavailable:
                log.error("store_unavailable", verb="apply", answers=len(changes), reason=str(unavailable))  # noqa: TRY400
                await asyncio.sleep(STORE_PAUSE_SECONDS)

    async def _settle(self, parents: set[str]) -> None:
        try:
            await self._jobs.settle(parents)
        except StoreUnavailable as unavailable:
            # Not lost: the maintenance sweep wakes joins that are met.
            log.error("store_unavailable", verb="settle", reason=str(unavailable))  # noqa: TRY400

"""Maintenance: the sweeps that every node may run at any time, because each is bounded, idempotent and jittered."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from forebay.domain.change import Recovered
from forebay.domain.errors import StoreUnavailable
from forebay.engine.services import Services
from forebay.engine.withdrawals import Withdrawals

log = structlog.get_logger(__name__)
RECOVER_SECONDS = 1.0
WITHDRAW_SECONDS = 2.0
PRUNE_SECONDS = 60.0
PRUNE_SHARE = 0.1  # of `result_ttl`
BLOB_SWEEP_SECONDS = 900.0
ORPHAN_AGE_SECONDS = 3600.0  # a blob is written before the commit that names it
ORPHANS_AT_ONCE = 500


def prune_seconds(result_ttl_seconds: float) -> float:
    """How often to prune: what is kept for a short time only is not found for much longer."""
    return min(PRUNE_SECONDS, max(result_ttl_seconds * PRUNE_SHARE, RECOVER_SECONDS))


class Maintenance:
    """The steps are public, so that tests call them; ``run`` repeats each at its own pace."""

    def __init__(self, services: Services, on_recovered: Callable[[Recovered], None]) -> None:
        self._services = services
        self._on_recovered = on_recovered
        self.withdrawals = Withdrawals(services)

    async def run(self) -> None:
        """Sweeps for ever; ends by cancellation."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(RECOVER_SECONDS, self.recover), name="recover")
            group.create_task(self._every(WITHDRAW_SECONDS, self.withdrawals.step), name="withdraw")
            pause = prune_seconds(self._services.bounds.result_ttl_seconds)
            group.create_task(self._every(pause, self.prune), name="prune")
            group.create_task(self._every(BLOB_SWEEP_SECONDS, self.sweep_blobs), name="sweep_blobs")

    async def recover(self) -> bool:
        """Frees, moves, ends and wakes what is due. True if nothing is left to do."""
        recovered = await self._services.jobs.recover()
        if recovered.rescued or recovered.expired:
            log.info("recovered", rescued=recovered.rescued, expired=recovered.expired)
        self._on_recovered(recovered)
        return recovered.is_complete

    async def prune(self) -> bool:
        """Deletes what ended longer ago than ``result_ttl``, and expired records."""
        services = self._services
        before = services.clock.now() - services.bounds.result_ttl_seconds
        pruned = await services.jobs.prune(before)
        expired = await services.records.expire()
        if pruned.jobs or expired:
            log.info("pruned", jobs=pruned.jobs, records=expired)
        return pruned.is_complete

    async def sweep_blobs(self) -> bool:
        """Deletes blobs that nothing refers to."""
        services = self._services
        batch: list[str] = []
        async for blob_id in services.blobs.older_than(services.clock.now() - ORPHAN_AGE_SECONDS):
            batch.append(blob_id)
            if len(batch) == ORPHANS_AT_ONCE:
                await self._delete_orphans(batch)
                batch = []
        await self._delete_orphans(batch)
        return True

    async def _delete_orphans(self, blob_ids: list[str]) -> None:
        if not blob_ids:
            return
        orphans = await self._services.jobs.orphans(blob_ids)
        if orphans:
            await self._services.blobs.delete(orphans)
            log.info("blobs_deleted", blobs=len(orphans))

    async def _every(self, seconds: float, step: Callable[[], Awaitable[bool]]) -> None:
        while True:
            is_complete = True
            try:
                is_complete = await step()
            except StoreUnavailable as unavailable:
                log.error("store_unavailable", verb="maintenance", reason=str(unavailable))  # noqa: TRY400
            except Exception:
                log.exception("maintenance_failed")
            jitter = 0.5 + self._services.chance.random()
            await asyncio.sleep(seconds * jitter if is_complete else 0)

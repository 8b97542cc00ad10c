"""What worker processes have counted, as records: the server adds it to its own whenever ``/metrics`` is read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog

from forebay.domain.errors import StoreUnavailable, VersionConflict
from forebay.domain.record import Record
from forebay.domain.stored import StoredRecord
from forebay.engine.services import Services
from forebay.telemetry import Counted

COUNTS = "counts"  # the kind of the records
PUBLISH_SECONDS = 2.0
FRESH_SECONDS = 15.0  # a process that published nothing for so long has no call under way
KEPT_SECONDS = 7 * 86_400.0  # the counts of a process that ended
MOST_PROCESSES = 1000

log = structlog.get_logger(__name__)


class Published(Record, frozen=True, kw_only=True):
    """What a process had counted at a time."""

    at: float
    counted: Counted


_PUBLISHED = msgspec.json.Decoder(Published)


@asynccontextmanager
async def published(services: Services) -> AsyncIterator[None]:
    """Publishes what this process counts while the block runs, and once more at its end."""
    publisher = Publisher(services)
    running = asyncio.create_task(publisher.run(), name="counts")
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        with contextlib.suppress(StoreUnavailable):
            await publisher.publish()


async def counted_elsewhere(services: Services) -> list[Counted]:
    """What other processes have published."""
    now = services.clock.now()
    found: list[Counted] = []
    for record in await services.records.list(None, COUNTS, limit=MOST_PROCESSES, is_ascending=False):
        told = _PUBLISHED.decode(record.data)
        is_fresh = now - told.at <= FRESH_SECONDS
        found.append(told.counted if is_fresh else msgspec.structs.replace(told.counted, in_flight={}))
    return found


class Publisher:
    """One process's record of what it counts."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._record = StoredRecord(kind=COUNTS, id=services.ids.new("process"), created_at=services.clock.now())

    async def run(self) -> None:
        """Publishes for ever; ends by cancellation."""
        while True:
            await asyncio.sleep(PUBLISH_SECONDS)
            try:
                await self.publish()
            except StoreUnavailable as unavailable:
                log.warning("counts_not_published", reason=str(unavailable))

    async def publish(self) -> None:
        """Writes what was counted so far. Raises: StoreUnavailable."""
        services, now = self._services, self._services.clock.now()
        told = Published(at=now, counted=services.meters.counted())
        record = msgspec.structs.replace(
            self._record, data=msgspec.json.encode(told).decode(), expires_at=now + KEPT_SECONDS
        )
        try:
            self._record = await services.records.put(record)
        except VersionConflict:  # it was cancelled in the middle of a put that was committed
            held = await services.records.get(record.tenant, COUNTS, record.id)
            version = held.version if held else 0
            self._record = await services.records.put(msgspec.structs.replace(record, version=version))

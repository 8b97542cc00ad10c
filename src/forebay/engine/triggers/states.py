"""States: what the store keeps of each trigger, made at the first look at it and changed against its version."""

import contextlib
import hashlib
from collections.abc import Iterable

import msgspec
import structlog

from forebay.domain.errors import StoreUnavailable, VersionConflict
from forebay.domain.job import Job
from forebay.domain.pipeline import PIPELINE, Trigger
from forebay.domain.query import JobQuery
from forebay.domain.schedule import SCHEDULE, ScheduleData, encoded, schedule_data
from forebay.domain.stored import StoredRecord
from forebay.engine.runs import TRIGGER_MARK
from forebay.engine.services import Services
from forebay.policy.schedules import Seen

log = structlog.get_logger(__name__)
CLOCK_BACK_SECONDS = 60.0  # a clock that was set back, and no mere correction
TRIES = 10
LONGEST_ERROR = 500  # characters
PAGE = 1000


def definition_of(trigger: Trigger) -> str:
    """The hash of what fires it: where that is changed it is another schedule, which fires nothing of the past."""
    said = (trigger.type, trigger.cron, trigger.timezone, trigger.every_seconds, trigger.at, trigger.window_seconds)
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:32]


async def state_of(
    trigger: Trigger, services: Services, now: float, *, tenant: str, known: Seen | None = None
) -> tuple[StoredRecord, ScheduleData]:
    """The trigger's record as it is, or as it will be with its next ``put_state``. ``known``: what this process has
    seen of the schedule itself, which holds where the record is another definition's.
    """
    definition = definition_of(trigger)
    begin = known or Seen(begun_at=now, considered=now)
    fresh = ScheduleData(definition=definition, begun_at=begin.begun_at, considered=begin.considered)
    record = await services.records.get(tenant, SCHEDULE, trigger.name)
    if record is None:
        return StoredRecord(kind=SCHEDULE, id=trigger.name, tenant=tenant, created_at=now), fresh
    data = schedule_data(record)
    if data.definition != definition or data.removed_at is not None:
        begun = msgspec.structs.replace(
            data,
            definition=definition,
            begun_at=begin.begun_at,
            considered=begin.considered,
            removed_at=None,
        )
        return record, begun
    if data.considered > now + CLOCK_BACK_SECONDS:  # fired while the clock was ahead; keys tell what has had its run
        data = msgspec.structs.replace(data, considered=now, begun_at=min(data.begun_at, now))
    return record, data


async def put_state(record: StoredRecord, data: ScheduleData, services: Services) -> StoredRecord:
    """Raises: VersionConflict: read it again."""
    return await services.records.put(msgspec.structs.replace(record, data=encoded(data)))


async def change_state(
    trigger: Trigger, services: Services, *, tenant: str, **changes: object
) -> tuple[StoredRecord, ScheduleData]:
    """Changes what is kept, whatever others change at the same time."""
    for _ in range(TRIES):
        record, data = await state_of(trigger, services, await services.jobs.now(), tenant=tenant)
        changed = msgspec.structs.replace(data, **changes)
        try:
            return await put_state(record, changed, services), changed
        except VersionConflict:
            continue
    raise StoreUnavailable(f"the schedule {trigger.name!r} changes all the time; try again")


async def note_error(trigger: Trigger, error: str | None, services: Services, *, tenant: str) -> None:
    """Notes why the last firing began no run, or that one did: as far as nobody else notes something just now."""
    told = error[:LONGEST_ERROR] if error else None
    record, data = await state_of(trigger, services, await services.jobs.now(), tenant=tenant)
    if data.last_error != told:
        with contextlib.suppress(VersionConflict):
            await put_state(record, msgspec.structs.replace(data, last_error=told), services)


async def last_run_of(trigger: Trigger, services: Services, *, tenant: str) -> Job | None:
    """The newest run that a trigger began, or a person in its place."""
    query = JobQuery(tenant=tenant, kinds=frozenset({PIPELINE}), metadata={TRIGGER_MARK: trigger.name}, limit=1)
    found = await services.jobs.find(query)
    return found[0] if found else None


async def mark_removed(names: Iterable[str], services: Services, *, tenant: str) -> None:
    """Notes which schedules the configuration has no more: one that comes back begins from then."""
    kept = frozenset(names)
    now = await services.jobs.now()
    after: str | None = None
    while True:
        page = await services.records.list(tenant, SCHEDULE, after=after, limit=PAGE)
        for record in page:
            data = schedule_data(record)
            if record.id not in kept and data.removed_at is None:
                try:
                    await put_state(record, msgspec.structs.replace(data, removed_at=now), services)
                    log.info("schedule_removed", schedule=record.id)
                except VersionConflict:
                    continue  # a server that still has it
        if len(page) < PAGE:
            return
        after = page[-1].id

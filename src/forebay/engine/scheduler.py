"""Scheduler: fires the triggers of the clock, on every server and worker at once. None leads: a firing's key makes its
run the only one, and a schedule's record tells how far every firing has been decided on.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import msgspec
import structlog

from forebay.domain.errors import RequestError, StoreUnavailable, VersionConflict
from forebay.domain.key import DEFAULT_TENANT
from forebay.domain.pipeline import Pipeline, Trigger
from forebay.domain.schedule import Firing, ScheduleData, encoded
from forebay.engine.services import Services
from forebay.engine.stopping import stopped
from forebay.engine.triggers.firing import fire
from forebay.engine.triggers.states import CLOCK_BACK_SECONDS, LONGEST_ERROR, mark_removed, put_state, state_of
from forebay.engine.triggers.watching import FileTriggers
from forebay.policy.schedules import OF_CLOCK, Due, Seen, due, fires_at, next_fire_time

log = structlog.get_logger(__name__)
TICK_SECONDS = 1.0
KEY = "schedule:"  # begins the key of a run that a schedule fired


class Scheduler:
    """``step`` is one tick, which tests call; ``run`` ticks for ever, with a jitter."""

    def __init__(self, services: Services, *, tenant: str = DEFAULT_TENANT) -> None:
        self._services = services
        self._tenant = tenant
        self._known: dict[str, _Known] = {}

    async def run(self) -> None:
        """Ticks for ever; ends by cancellation."""
        while True:
            try:
                await self.step()
            except StoreUnavailable as unavailable:
                log.error("store_unavailable", verb="schedule", reason=str(unavailable))  # noqa: TRY400
            except Exception:
                log.exception("schedules_failed")
            await asyncio.sleep(TICK_SECONDS * (0.5 + self._services.chance.random()))

    async def begin(self) -> None:
        """Notes the schedules that the configuration has no more. For servers: a worker's may be a smaller one."""
        await mark_removed(
            [trigger.name for _, trigger in _triggers(self._services)], self._services, tenant=self._tenant
        )

    async def step(self) -> int:
        """Fires what is due by the store's clock. Returns how many runs were begun, or found begun.

        Raises: StoreUnavailable: what was not decided on is by the next one.
        """
        clocked = [(pipeline, trigger) for pipeline, trigger in _triggers(self._services) if trigger.type in OF_CLOCK]
        if not clocked:
            return 0
        now = await self._services.jobs.now()
        fired = 0
        for pipeline, trigger in clocked:
            try:
                fired += await self._look(pipeline, trigger, now)
            except RequestError as error:  # this machine does not know its time zone
                log.error("schedule_failed", schedule=trigger.name, reason=error.message)  # noqa: TRY400
        return fired

    async def _look(self, pipeline: Pipeline, trigger: Trigger, now: float) -> int:
        known = self._known.get(trigger.name)
        if known is not None and not known.may_be_due(now):
            return 0
        record, data = await state_of(
            trigger, self._services, now, tenant=self._tenant, known=known.seen if known else None
        )
        seen = Seen(begun_at=data.begun_at, considered=data.considered)
        found = due(trigger, seen, now, catch_up=pipeline.catch_up, limit=pipeline.catch_up_limit)
        fired = 0
        if found.considered > seen.considered and not data.is_paused:
            fired, data = await self._fire(pipeline, trigger, found, data)
        data = msgspec.structs.replace(data, considered=found.considered)
        if encoded(data) != record.data:
            try:
                await put_state(record, data, self._services)
            except VersionConflict:  # another server has decided on the same, or it was paused: look again
                return fired
        self._known[trigger.name] = _Known(trigger, data, now)
        return fired

    async def _fire(
        self, pipeline: Pipeline, trigger: Trigger, found: Due, data: ScheduleData
    ) -> tuple[int, ScheduleData]:
        fired = 0
        for fire_time in (*found.made_up, *([] if found.on_time is None else [found.on_time])):
            firing = Firing(
                trigger=trigger,
                key=f"{KEY}{trigger.name}:{fire_time:.3f}",
                fire_time=fire_time,
                must_wait=fire_time != found.on_time,
            )
            try:
                job_id = await fire(pipeline, firing, self._services, tenant=self._tenant)
            except RequestError as error:
                log.error("schedule_failed", schedule=trigger.name, reason=error.message)  # noqa: TRY400
                data = msgspec.structs.replace(data, last_error=error.message[:LONGEST_ERROR])
                continue
            if job_id is None:
                log.info("schedule_skipped", schedule=trigger.name, fire_time=fire_time)
                data = msgspec.structs.replace(data, last_skipped_at=fire_time)
                continue
            fired += 1
            log.info("schedule_fired", schedule=trigger.name, fire_time=fire_time, job_id=job_id)
            data = msgspec.structs.replace(data, last_fire_at=fire_time, last_run_id=job_id, last_error=None)
        if not fired and not found.made_up and found.on_time is None:
            log.info("schedule_missed", schedule=trigger.name, until=found.considered)
        return fired, data


class _Known:
    """What this process has seen of a schedule, so that a tick at which nothing can be due reads no record."""

    def __init__(self, trigger: Trigger, data: ScheduleData, now: float) -> None:
        self.seen = Seen(begun_at=data.begun_at, considered=data.considered)
        self._looked_at = now
        following = next_fire_time(trigger, data.considered, begun_at=data.begun_at)
        self._due_at = None if following is None else fires_at(trigger, following)

    def may_be_due(self, now: float) -> bool:
        """Whether it is time, or the clock was set back since."""
        if now < self._looked_at - CLOCK_BACK_SECONDS:
            return True
        return self._due_at is not None and now >= self._due_at


def _triggers(services: Services) -> Iterator[tuple[Pipeline, Trigger]]:
    for pipeline in services.pipelines.values():
        for trigger in pipeline.triggers:
            yield pipeline, trigger


@contextlib.asynccontextmanager
async def scheduling(services: Services, *, is_server: bool = False) -> AsyncIterator[None]:
    """Fires schedules and looks for files while the block runs. ``is_server``: its configuration is the whole one."""
    scheduler = Scheduler(services)

    async def run() -> None:
        if is_server:
            with contextlib.suppress(StoreUnavailable):
                await scheduler.begin()
        await scheduler.run()

    tasks = [
        asyncio.create_task(run(), name="scheduler"),
        asyncio.create_task(FileTriggers(services).run(), name="file_triggers"),
    ]
    try:
        yield
    finally:
        await stopped(tasks)

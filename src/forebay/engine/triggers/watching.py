"""Watching: all file triggers of a process, stepped together; what the places tell of changes is a hint."""

import asyncio

import structlog

from forebay.domain.errors import StoreUnavailable
from forebay.domain.key import DEFAULT_TENANT
from forebay.domain.pipeline import TriggerType
from forebay.engine.services import Services
from forebay.engine.triggers.files import FileTrigger

log = structlog.get_logger(__name__)
STEP_SECONDS = 1.0


class FileTriggers:
    """``step`` is one look, which tests call; ``run`` looks for ever."""

    def __init__(self, services: Services, *, tenant: str = DEFAULT_TENANT) -> None:
        self._services = services
        arrivals = services.arrivals
        named = [
            (pipeline, trigger)
            for pipeline in services.pipelines.values()
            for trigger in pipeline.triggers
            if trigger.type is TriggerType.FILES and arrivals is not None
        ]
        self._places = [(trigger.files or "", pipeline.folder) for pipeline, trigger in named]
        self._triggers = [] if arrivals is None else [FileTrigger(*one, arrivals, services, tenant) for one in named]

    async def run(self) -> None:
        """Looks for ever; ends by cancellation."""
        if not self._triggers:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="file_changes")
            for trigger in self._triggers:  # each by itself: a drive that does not answer holds up no other
                group.create_task(self._step_for_ever(trigger), name="files")

    async def step(self) -> int:
        """Looks where it is time and begins runs; returns how many. Raises: StoreUnavailable."""
        if not self._triggers:
            return 0
        now = await self._services.jobs.now()
        return sum([await trigger.step(now) for trigger in self._triggers])

    def hint(self) -> None:
        """Something may have changed."""
        for trigger in self._triggers:
            trigger.hint()

    async def _step_for_ever(self, trigger: FileTrigger) -> None:
        while True:
            try:
                await trigger.step(await self._services.jobs.now())
            except StoreUnavailable as unavailable:
                log.error("store_unavailable", verb="files", reason=str(unavailable))  # noqa: TRY400
            except Exception:
                log.exception("files_failed")
            await asyncio.sleep(STEP_SECONDS * (0.5 + self._services.chance.random()))

    async def _listen(self) -> None:
        """Ends where none of the places tells of changes."""
        is_telling = self._services.arrivals is not None
        while is_telling:
            try:
                is_telling = await self._heard()
            except Exception:
                log.exception("file_changes_failed")
                await asyncio.sleep(STEP_SECONDS)

    async def _heard(self) -> bool:
        if self._services.arrivals is not None:
            async for _ in self._services.arrivals.changes(self._places):
                self.hint()
        return False

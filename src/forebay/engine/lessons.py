"""Lessons: what the lanes of this worker have learned goes to the other workers on the store, and theirs come here.

Once a second, beside the calls: one write while anything is sent, one read of a few rows.
"""

import asyncio

import structlog

from forebay.domain.errors import StoreUnavailable
from forebay.engine.lanes import Lanes
from forebay.engine.services import Services

log = structlog.get_logger(__name__)
PAUSE_SECONDS = 1.0
LASTING_SECONDS = 4.0  # a worker that has said nothing for so long is taken for gone, and its share goes to the others


class Lessons:
    """Of one worker. Nothing depends on them: without the store each lane goes by what it has learned itself."""

    def __init__(self, lanes: Lanes, services: Services, teller: str) -> None:
        self._lanes = lanes
        self._limits = services.limits
        self._clock = services.clock
        self._teller = teller
        self._told: set[str] = set()

    async def run(self) -> None:
        """Tells and hears for ever; ends by cancellation."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            try:
                await self.exchange()
            except StoreUnavailable as unavailable:
                log.warning("store_unavailable", verb="tell", reason=str(unavailable))
            except Exception:
                log.exception("lessons_failed")

    async def exchange(self) -> None:
        """Tells what the busy lanes know, and hears of all."""
        now = self._clock.now()
        lanes = self._lanes.by_name
        lessons = [lane.state.lesson(name, self._teller, now) for name, lane in lanes.items() if lane.is_busy(now)]
        if lessons:
            self._told |= {lesson.target for lesson in lessons}
            await self._limits.tell(lessons, LASTING_SECONDS)
        heard = await self._limits.heard(list(lanes))
        now = self._clock.now()
        for name, lane in lanes.items():
            lane.state.hear(self._teller, [lesson for lesson in heard if lesson.target == name], now)

    async def close(self) -> None:
        """Leaves this worker's share to the others at once."""
        if self._told:
            now = self._clock.now()
            lessons = [self._lanes.by_name[name].state.lesson(name, self._teller, now) for name in self._told]
            await self._limits.tell(lessons, 0.0)

"""Slots: the tasks that run jobs, kept and used again, because a new task per call costs more than its commit."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from forebay.domain.change import Claimed
from forebay.engine.stopping import stopped

log = structlog.get_logger(__name__)


class Slots:
    """As many tasks as jobs run at once. Lanes bound what is claimed, so no lane takes another's slot.

    ``run`` is given the job and the task it runs in; ``ended`` is told of every job that left its slot.
    """

    def __init__(
        self, run: Callable[[Claimed, "asyncio.Task[None]"], Awaitable[None]], ended: Callable[[Claimed], None]
    ) -> None:
        self._run = run
        self._ended = ended
        self._idle: list[asyncio.Future[Claimed]] = []
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of their making, which a set would not keep
        self._is_closed = False
        self.busy = 0
        self.emptied = asyncio.Event()
        self.emptied.set()

    def dispatch(self, claimed: Claimed) -> None:
        """Runs the job in an idle slot, or in a new one."""
        self.busy += 1
        self.emptied.clear()
        while self._idle:
            future = self._idle.pop()
            if not future.done():
                future.set_result(claimed)
                return
        task = asyncio.create_task(self._slot(claimed), name="slot")
        self._tasks[task] = None
        task.add_done_callback(self._tasks.__delitem__)

    async def close(self) -> None:
        """Breaks off whatever still runs, and ends the slots. A job that will not let go is left behind."""
        self._is_closed = True
        if left := await stopped(list(self._tasks)):
            log.error("jobs_left_behind", jobs=left)

    async def _slot(self, claimed: Claimed) -> None:
        loop = asyncio.get_running_loop()
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None, "a slot is a task"  # noqa: S101 - for the type checker
        while True:
            try:
                await self._run(claimed, task)
            except Exception:
                log.exception("slot_failed", job_id=claimed.job.id)
            finally:
                self.busy -= 1
                self._ended(claimed)
                if self.busy == 0:
                    self.emptied.set()
            if self._is_closed:  # a job that was stopped has swallowed the cancellation that ends its slot
                return
            idle: asyncio.Future[Claimed] = loop.create_future()
            self._idle.append(idle)
            claimed = await idle

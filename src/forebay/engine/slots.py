"""Slots: the tasks that run jobs, kept and used again, because a new task per call costs more than its commit."""

import asyncio
from collections.abc import Awaitable, Callable

from forebay.domain.change import Claimed


class Slots:
    """As many tasks as jobs run at once. Lanes bound what is claimed, so no lane takes another's slot."""

    def __init__(self, run: Callable[[Claimed], Awaitable[None]]) -> None:
        self._run = run
        self._idle: list[asyncio.Future[Claimed]] = []
        self._tasks: set[asyncio.Task[None]] = set()
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
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Breaks off whatever still runs, and ends the idle slots."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _slot(self, claimed: Claimed) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._run(claimed)
            finally:
                self.busy -= 1
                if self.busy == 0:
                    self.emptied.set()
            idle: asyncio.Future[Claimed] = loop.create_future()
            self._idle.append(idle)
            claimed = await idle

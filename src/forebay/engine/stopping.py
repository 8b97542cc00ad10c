"""Stopping: ends tasks for sure. A cancellation may be swallowed by what it falls into, so it is asked again."""

import asyncio
from collections.abc import Collection

CANCEL_SECONDS = 1.0  # for a task to let go, before it is asked again
CANCEL_TIMES = 5  # then it is left behind: the process ends anyway


async def stopped(tasks: Collection[asyncio.Task[None]]) -> int:
    """Cancels the tasks and returns when all have ended; else how many are left behind."""
    for _ in range(CANCEL_TIMES):
        left = [task for task in tasks if not task.done()]
        if not left:
            return 0
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_SECONDS)
    return sum(not task.done() for task in tasks)

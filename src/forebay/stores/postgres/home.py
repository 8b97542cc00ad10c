"""Home: the thread with the loop on which all connections of one store live, whichever loop a verb is called from.

A busy event loop of the engine holds no transaction open, and the heartbeat's thread has a loop of its own.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from forebay.domain.errors import StoreUnavailable

Result = TypeVar("Result")


class Home:
    """A started thread; ``stop`` ends it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="forebay-postgres", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Runs the coroutine there and waits for it; cancelled with its caller."""
        if self.loop.is_closed():
            raise StoreUnavailable("the store is closed")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self.loop))

    async def stop(self) -> None:
        """Ends the thread; whatever still runs there is cancelled."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

"""A pool of threads for calls that may never return: functions of users, statements of databases.

Not ThreadPoolExecutor: at exit Python joins its threads, so one hung function would keep a drained worker from ending;
and a call given up would hold its place in the pool for good. Here threads are daemons, and a call given up is made up
for by another thread until it returns.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

_Result = TypeVar("_Result")


class _Work(Generic[_Result]):
    """One call, and where its result is awaited. ``run`` must not raise."""

    def __init__(self, run: Callable[[], _Result]) -> None:
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[_Result] = self.loop.create_future()
        self.is_started = False
        self.is_abandoned = False

    def resolve(self, result: _Result) -> None:
        if not self.future.done():
            self.future.set_result(result)


class DaemonPool:
    """At most ``size`` calls at once that somebody waits for; threads are kept for the next calls."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._queue: SimpleQueue[_Work[Any] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._abandoned = 0  # threads whose caller has gone

    async def run(self, call: Callable[[], _Result]) -> _Result:
        """Runs ``call``, which must not raise, in a thread. Cancelling gives the call up; it runs on unseen."""
        work = _Work(call)
        self._queue.put(work)
        self._make_room()
        try:
            return await work.future
        except asyncio.CancelledError:
            self._abandon(work)
            raise

    def close(self) -> None:
        """Lets idle threads end; those at work end after their call."""
        with self._lock:
            threads = self._threads
        for _ in range(threads):
            self._queue.put(None)

    def _make_room(self) -> None:
        with self._lock:
            if self._queue.qsize() <= self._idle or self._threads - self._abandoned >= self._size:
                return
            self._threads += 1
            number = self._threads
        threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

    def _abandon(self, work: _Work[Any]) -> None:
        with self._lock:
            work.is_abandoned = True
            if work.is_started:
                self._abandoned += 1
        self._make_room()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            work = self._queue.get()
            with self._lock:
                self._idle -= 1
                if work is None:
                    self._threads -= 1
                    return
                if work.is_abandoned:
                    continue
                work.is_started = True
            result = work.run()
            if not self._finish(work, result):
                return

    def _finish(self, work: _Work[Any], result: Any) -> bool:
        """Hands the result over. Returns whether this thread goes on: one that was made up for ends."""
        with self._lock:
            if work.is_abandoned:
                self._abandoned -= 1
                self._threads -= 1
                return False
        try:
            work.loop.call_soon_threadsafe(work.resolve, result)
        except RuntimeError:  # the loop is closed: nobody waits
            return False
        return True

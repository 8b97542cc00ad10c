"""Hints of commits: topics in this process, and a look at other processes' commits while anyone watches.

The writer signals once per commit. Its thread also polls ``PRAGMA data_version`` on its own connection, which changes
with the commits of others alone; after one it looks what they did (``looks``).
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable

import apsw

from forebay.domain.errors import StoreUnavailable
from forebay.ports import Watch
from forebay.stores.sqlite.looks import Looks
from forebay.stores.sqlite.transaction import Session

POLL_SECONDS = 0.02
MAX_POLL_SHARE = 10  # a look that took t is not repeated within 10 t

Hints = list[tuple["StoreWatch", set[str]]]


class Hub:
    """All watches of one open store. Watches live on their loops; signals come from the writer's thread."""

    def __init__(self, *, is_shared: bool) -> None:
        self._lock = threading.Lock()
        self._watches: dict[str, set[StoreWatch]] = {}
        self._is_shared = is_shared  # other processes may commit
        self._version: int | None = None  # None: unknown, so the next look counts as a change
        self._looks = Looks()
        self._pause = POLL_SECONDS
        self.wake: Callable[[], None] = lambda: None  # makes the writer's thread poll; set by whoever made it

    def watch(self, topics: Iterable[str]) -> Watch:
        watch = StoreWatch(self, asyncio.get_running_loop())
        watch.add(topics)
        return watch

    def signal(self, topics: Iterable[str]) -> None:
        """Tells the watches; any thread."""
        hints: dict[StoreWatch, set[str]] = {}
        with self._lock:
            for topic in self._watches.keys() & set(topics):
                for watch in self._watches[topic]:
                    hints.setdefault(watch, set()).add(topic)
        loops: dict[asyncio.AbstractEventLoop, Hints] = {}
        for watch, theirs in hints.items():
            loops.setdefault(watch.loop, []).append((watch, theirs))
        for loop, hinted in loops.items():
            try:
                loop.call_soon_threadsafe(_hint, hinted)
            except RuntimeError:  # that loop is closed: nobody waits any more
                continue

    def attach(self, watch: "StoreWatch", topics: Iterable[str]) -> None:
        with self._lock:
            is_first = not self._watches
            for topic in topics:
                self._watches.setdefault(topic, set()).add(watch)
            if is_first:
                self._version = None
            has_begun = is_first and bool(self._watches)
        if has_begun and self._is_shared:
            self.wake()

    def detach(self, watch: "StoreWatch", topics: Iterable[str]) -> None:
        with self._lock:
            for topic in topics:
                others = self._watches.get(topic)
                if others is not None:
                    others.discard(watch)
                    if not others:
                        del self._watches[topic]
                        self._looks.forget(topic)

    def poll(self, connection: apsw.Connection) -> float | None:
        """Looks for commits of other processes; returns the seconds until the next look, None while nobody watches."""
        if not self._is_shared or not self._watches:
            return None
        started = time.perf_counter()
        [[version]] = Session(connection).run("meta.data_version")
        with self._lock:
            has_changed = version != self._version
            self._version = version
        if has_changed or self._looks.is_behind:
            self.signal(list(self._looks.look(Session(connection), self._topics, has_changed=has_changed)))
            self._pause = max(POLL_SECONDS, (time.perf_counter() - started) * MAX_POLL_SHARE)
        return self._pause

    def _topics(self) -> set[str]:
        with self._lock:
            return set(self._watches)


class StoreWatch:
    """One subscriber, on the loop that made it."""

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._hub = hub
        self._topics: set[str] = set()
        self._signalled: set[str] = set()
        self._event = asyncio.Event()
        self._is_closed = False

    def add(self, topics: Iterable[str]) -> None:
        if self._is_closed:
            raise StoreUnavailable("this watch is closed")
        new = set(topics) - self._topics
        self._topics |= new
        self._hub.attach(self, new)

    def discard(self, topics: Iterable[str]) -> None:
        gone = self._topics & set(topics)
        self._topics -= gone
        self._signalled -= gone
        self._hub.detach(self, gone)

    async def next(self, timeout_seconds: float | None = None) -> set[str]:
        if not self._signalled:
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._event.wait()
            except TimeoutError:
                return set()
        self._event.clear()
        signalled, self._signalled = self._signalled, set()
        return signalled

    def close(self) -> None:
        self.discard(self._topics.copy())
        self._is_closed = True
        self._event.set()  # whoever waits gets an empty set

    def hint(self, topics: set[str]) -> None:
        self._signalled |= topics & self._topics
        if self._signalled:
            self._event.set()


def _hint(hints: Hints) -> None:
    for watch, topics in hints:
        watch.hint(topics)

"""Hints of commits: topics in this process, and other processes' commits while anyone watches.

Each commit that has topics is told to the others by one NOTIFY, coalesced with what is still to be told. One optional
connection listens. Nothing depends on it: while anyone watches, two statements ask every so often which watched queues
have something to claim, and which watched jobs ended or grew.
"""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg

from forebay.domain.errors import ForebayError, StoreUnavailable
from forebay.ports import Watch
from forebay.stores.postgres.faults import LOST
from forebay.stores.postgres.link import READING, Link
from forebay.stores.postgres.place import Place
from forebay.stores.postgres.transaction import Session

POLL_SECONDS = 0.2  # without a listener
LISTENING_POLL_SECONDS = 2.0  # with one: hints may be lost
PAYLOAD_BYTES = 7_500  # PostgreSQL takes less than 8,000
EVERYTHING = "*"  # a payload that named too much: look for yourself
TELL_PAUSE_SECONDS = 0.005  # between two NOTIFY: what is committed meanwhile shares one
_READY = "ready:"
_JOB = "job:"

Hints = list[tuple["StoreWatch", set[str]]]
Query = Callable[[Callable[[Session], Awaitable[Any]], str], Awaitable[Any]]


class Hub:
    """All watches of one open store. Watches live on their loops; signals come from the store's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, query: Query, place: Place) -> None:
        self._loop = loop
        self._query = query
        self._lock = threading.Lock()
        self._watches: dict[str, set[StoreWatch]] = {}
        self._seen: dict[str, tuple[float | None, int | None]] = {}
        self._untold: set[str] = set()
        self._name = uuid4().hex[:12]  # our own notifications are passed over
        self._channel = f"forebay_{place.schema}"[:63]
        self._listener = Link(place, "listener") if place.is_listening else None
        self._heard_on: object | None = None  # the connection that listens
        self._poll_now = asyncio.Event()
        self._tell_now = asyncio.Event()
        self._tasks = [
            asyncio.run_coroutine_threadsafe(self._poll(), loop),
            asyncio.run_coroutine_threadsafe(self._tell(), loop),
        ]

    def watch(self, topics: Iterable[str]) -> Watch:
        watch = StoreWatch(self, asyncio.get_running_loop())
        watch.add(topics)
        return watch

    def signal(self, topics: Collection[str]) -> None:
        """Tells this process's watches and, soon after, the other processes; on the store's loop, after a commit."""
        self._hint(topics)
        self._untold.update(topics)
        self._tell_now.set()

    def attach(self, watch: "StoreWatch", topics: Iterable[str]) -> None:
        with self._lock:
            is_first = not self._watches
            for topic in topics:
                self._watches.setdefault(topic, set()).add(watch)
            has_begun = is_first and bool(self._watches)
        if has_begun and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._poll_now.set)

    def detach(self, watch: "StoreWatch", topics: Iterable[str]) -> None:
        with self._lock:
            for topic in topics:
                others = self._watches.get(topic)
                if others is not None:
                    others.discard(watch)
                    if not others:
                        del self._watches[topic]
                        self._seen.pop(topic, None)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._listener is not None:
            await self._listener.close()

    def _hint(self, topics: Collection[str]) -> None:
        hints: dict[StoreWatch, set[str]] = {}
        with self._lock:
            for topic in self._watches.keys() & topics:
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

    async def _tell(self) -> None:
        """One NOTIFY for all that was committed since the last one, in a transaction of its own: its lock is one that
        all commits with a NOTIFY share, and this one waits for no disk while it holds it.
        """
        told_at = -TELL_PAUSE_SECONDS
        while True:
            await self._tell_now.wait()
            if (pause := told_at + TELL_PAUSE_SECONDS - self._loop.time()) > 0:
                await asyncio.sleep(pause)
            told_at = self._loop.time()
            self._tell_now.clear()
            topics, self._untold = self._untold, set()
            notify = partial(self._notify, self._payload(topics))
            with suppress(StoreUnavailable):  # a hint
                await self._query(notify, READING)

    async def _notify(self, payload: str, session: Session) -> None:
        await session.text("SELECT pg_notify($1, $2)", [self._channel, payload])

    def _payload(self, topics: Collection[str]) -> str:
        text = "\n".join([self._name, *sorted(topics)])
        return text if len(text.encode()) <= PAYLOAD_BYTES else f"{self._name}\n{EVERYTHING}"

    async def _poll(self) -> None:
        """Looks for what other processes committed, while anyone watches."""
        while True:
            if not self._watches:
                await self._poll_now.wait()
            self._poll_now.clear()
            await self._listen()
            with suppress(StoreUnavailable):
                await self._query(self._look, READING)
            pause = POLL_SECONDS if self._heard_on is None else LISTENING_POLL_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter, no secret
                    await self._poll_now.wait()

    async def _listen(self) -> None:
        """Keeps the listener's connection, if there may be one."""
        if self._listener is None:
            return
        try:
            connection = await self._listener.connection()
            if connection is not self._heard_on:
                self._heard_on = None
                await connection.add_listener(self._channel, self._on_notify)
                self._heard_on = connection
        except (*LOST, asyncpg.PostgresError, ForebayError):
            self._listener.drop()
            self._heard_on = None

    def _on_notify(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        sender, _, rest = str(payload).partition("\n")
        if sender == self._name:
            return
        if rest == EVERYTHING:
            self._poll_now.set()
        else:
            self._hint(set(rest.split("\n")))

    async def _look(self, session: Session) -> None:
        with self._lock:
            topics = list(self._watches)
        queues = [topic.removeprefix(_READY) for topic in topics if topic.startswith(_READY)]
        jobs = [topic.removeprefix(_JOB) for topic in topics if topic.startswith(_JOB)]
        changed = {_READY + row[0] for row in await session.bulk("read.claimable", queues)}
        for job_id, finished_at, last_chunk in await session.bulk("read.watched", jobs):
            topic, state = _JOB + job_id, (finished_at, last_chunk)
            if self._seen.get(topic, (None, None)) != state:
                changed.add(topic)
                self._seen[topic] = state
        self._hint(changed)


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

"""Where chaos keeps its jobs: what its processes are told of the place, what can be done to it, how to look into it."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from forebay.app import SystemClock
from forebay.blobs.files import open_blobs
from forebay.blobs.postgres import open_postgres_blobs
from forebay.domain.ids import IdSource
from forebay.ports import BlobStore, JobStore
from forebay.stores.drivers import store_driver
from forebay.stores.sqlite import open_store
from forebay.testing.crashing import Backing
from forebay.testing.cutting import CuttingProxy
from forebay.testing.postgres import PostgresServer

FILE = "forebay.db"
TIMEOUT_SECONDS = 3.0  # of a verb: what a cut network costs at most
LONGEST_CUT_SECONDS = 2.0 * TIMEOUT_SECONDS
LONGEST_STOP_SECONDS = 2.0
BACKENDS = "FROM pg_stat_activity WHERE application_name LIKE 'forebay%'"
_schemas = count()

Trouble = Callable[[], Coroutine[Any, Any, None]]


class Inside(NamedTuple):
    """The store as the checker sees it."""

    jobs: JobStore
    blobs: BlobStore


class Home(Protocol):
    """One store, made for one run of chaos; ``async with`` opens what leads to it."""

    backing: Backing
    url: str

    @property
    def troubles(self) -> Sequence[tuple[Trouble, int]]:
        """What can happen to the store itself, with weights; killing a process has 9."""
        ...

    def environment(self, place: int) -> Mapping[str, str]:
        """Of the process in that slot: each has a way of its own to the store."""
        ...

    def opened(self) -> AbstractAsyncContextManager[Inside]: ...

    async def problems(self) -> list[str]:
        """What its tables don't say alike."""
        ...


class SqliteHome:
    """A file. Nothing can happen to it but the death of who writes it."""

    backing = Backing.SQLITE
    troubles: Sequence[tuple[Trouble, int]] = ()

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{FILE}"
        self._path = folder / FILE

    def environment(self, place: int) -> Mapping[str, str]:
        del place
        return {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Inside]:
        clock = SystemClock()
        store = await open_store(self._path, clock=clock)
        try:
            folder = self._path.with_name(f"{FILE}.blobs")
            yield Inside(store.jobs, await open_blobs(folder, clock=clock, ids=IdSource(clock.now)))
        finally:
            await store.close()

    async def problems(self) -> list[str]:
        return []


class PostgresHome:
    """A schema on a server, which is stopped and started, whose backends die, and to which the network is cut."""

    backing = Backing.POSTGRESQL

    def __init__(self, server: PostgresServer, chance: random.Random, happened: Counter[str]) -> None:
        self._server = server
        self._chance = chance
        self._happened = happened
        self._query = f"?schema=chaos{next(_schemas)}&timeout={TIMEOUT_SECONDS}"
        self.url = server.url() + self._query
        self._ways: list[CuttingProxy] = []
        self._is_away = False

    @property
    def troubles(self) -> Sequence[tuple[Trouble, int]]:
        return ((self._restart, 1), (self._end_backends, 3), (self._kill_backend, 1), (self._cut, 3))

    @asynccontextmanager
    async def reached(self, places: int) -> AsyncIterator["PostgresHome"]:
        """Makes the store, and a way to it for each place."""
        driver = store_driver("postgresql")
        await driver.migrate(driver.read_place(self.url))
        async with AsyncExitStack() as stack:
            self._ways = [await stack.enter_async_context(CuttingProxy(self._server.port)) for _ in range(places)]
            yield self

    def environment(self, place: int) -> Mapping[str, str]:
        port = self._ways[place % len(self._ways)].port
        return {"FOREBAY_STORE": self._server.url(port=port) + self._query}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Inside]:
        store = await store_driver("postgresql").open_store(self.url)
        try:
            yield Inside(store.jobs, await open_postgres_blobs(store.backend, ids=IdSource()))
        finally:
            await store.close()

    async def problems(self) -> list[str]:
        driver = store_driver("postgresql")
        found: list[str] = await driver.check(driver.read_place(self.url))
        return found

    async def _restart(self) -> None:
        if self._is_away:
            return
        self._is_away = True
        is_immediate = self._chance.random() < 0.5
        self._happened["database stopped, at once" if is_immediate else "database stopped"] += 1
        await asyncio.to_thread(self._server.stop, is_immediate=is_immediate)
        await asyncio.sleep(self._chance.uniform(0.0, LONGEST_STOP_SECONDS))
        await asyncio.to_thread(self._server.start)
        self._is_away = False

    async def _end_backends(self) -> None:
        share = self._chance.choice((0.3, 1.0))
        ended = await self._ask(f"SELECT pg_terminate_backend(pid) {BACKENDS} AND random() < {share}")
        self._happened["backends ended"] += len(ended)

    async def _kill_backend(self) -> None:
        """The server takes all of them down then, and recovers."""
        victims = await self._ask(f"SELECT pid {BACKENDS} ORDER BY random() LIMIT 1")
        for victim in victims:
            try:
                os.kill(int(victim), signal.SIGKILL)
            except ProcessLookupError:
                continue
            self._happened["backend killed"] += 1

    async def _cut(self) -> None:
        way = self._chance.choice(self._ways)
        self._happened["network cut"] += 1
        way.cut()
        await asyncio.sleep(self._chance.uniform(0.1, LONGEST_CUT_SECONDS))
        await way.mend()

    async def _ask(self, sql: str) -> list[str]:
        if self._is_away:
            return []
        try:
            return (await asyncio.to_thread(self._server.run, sql)).split()
        except RuntimeError:  # it is away, or on its way back
            return []

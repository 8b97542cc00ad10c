"""Backend: what the three ports of one open store share: the thread, the writer, the readers and the watches."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from forebay.domain.errors import ForebayError, StoreRefused, StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.ports import Clock
from forebay.stores.postgres.calls import Order
from forebay.stores.postgres.faults import BUSY, CROSSED, LOST, UNWRITABLE, unavailable
from forebay.stores.postgres.home import Home
from forebay.stores.postgres.link import HASTY, READING, SNAPSHOT, WRITING, Link
from forebay.stores.postgres.place import Place
from forebay.stores.postgres.transaction import Session, Tx
from forebay.stores.postgres.watch import Hub
from forebay.stores.postgres.writer import ASIDE, Means, Writer

READERS = 2
TRIES = 3
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Backend:
    """One open store: five connections, one of them for hints, each made at its first use."""

    def __init__(self, place: Place, clock: Clock | None, ids: IdSource) -> None:
        self.place = place
        self._clock = clock
        self._home = Home()
        self._idle: asyncio.Queue[Link] = asyncio.Queue()
        self._readers = [Link(place, "reader") for _ in range(READERS)]
        for reader in self._readers:
            self._idle.put_nowait(reader)
        self.hub = Hub(self._home.loop, self._query, place)
        means = Means(place.timeout_seconds, clock, ids, self.hub.signal)
        self._writer = Writer(self._home, lambda name: Link(place, name, is_hasty=name == ASIDE), means)
        self._is_closed = False

    async def write(
        self,
        order: Order,
        run: Callable[[Tx, Sequence[Argument]], Awaitable[Sequence[Result | Exception]]],
        argument: Argument,
    ) -> Result:
        """Runs a verb in the next commit and returns when that is durable.

        Raises: StoreUnavailable: nothing was acknowledged; try again.
        """
        result: Result = await self._writer.call(order, run, argument)
        return result

    async def read(self, query: Callable[[Session], Awaitable[Result]], *, is_snapshot: bool = False) -> Result:
        """Runs a query that sees every commit acknowledged before; ``is_snapshot``: all its statements see the same."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        return await self._home.run(lambda: self._query(query, SNAPSHOT if is_snapshot else READING))

    async def transact(
        self, work: Callable[[Session], Awaitable[Result]], *, is_writing: bool = False, is_hasty: bool = False
    ) -> Result:
        """Runs one short transaction for the blobs; ``is_hasty``: a later one, which waits for the disk, covers it.

        Raises: StoreUnavailable: nothing is known to be done; try again.
        """
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        begin = HASTY if is_hasty else WRITING if is_writing else READING
        return await self._home.run(lambda: self._query(work, begin, tries=1 if is_writing else TRIES))

    async def now(self, session: Session) -> float:
        """The store's time: the database's, unless a test gave it another."""
        if self._clock is not None:
            return self._clock.now()
        [[now]] = await session.text(_NOW, [])
        return float(now)

    async def close(self) -> None:
        """Commits what is queued, then closes every connection."""
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(StoreUnavailable):
            await self._home.run(self._close)
        await self._home.stop()

    async def _close(self) -> None:
        await self.hub.close()
        await self._writer.close()
        for reader in self._readers:
            await reader.close()

    async def _query(self, query: Callable[[Session], Awaitable[Result]], begin: str, *, tries: int = TRIES) -> Result:
        """Reads are repeated: they change nothing."""
        try:
            async with asyncio.timeout(self.place.timeout_seconds):
                link = await self._idle.get()
                try:
                    return await _repeat(link, query, begin, tries)
                finally:
                    self._idle.put_nowait(link)
        except StoreRefused as exc:  # after it was opened: let in again, perhaps
            raise unavailable(exc) from exc
        except ForebayError:
            raise
        except (*LOST, *BUSY, *CROSSED) as exc:
            raise unavailable(exc) from exc


async def _repeat(link: Link, query: Callable[[Session], Awaitable[Result]], begin: str, tries: int) -> Result:
    way = link.alone if begin == READING else link.transaction
    is_scrubbing = False
    while True:
        tries -= 1
        try:
            async with way(begin) as connection:
                return await query(Session(connection, is_scrubbing=is_scrubbing))
        except UNWRITABLE:  # asked for a text that no row can have
            if is_scrubbing:
                raise
            is_scrubbing = True
        except (*LOST, *CROSSED):
            if tries <= 0:
                raise

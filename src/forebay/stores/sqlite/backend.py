"""Backend: what the three ports of one open store share: the writer, the readers, the watches and the clock."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

from forebay.domain.errors import StoreUnavailable
from forebay.ports import Clock
from forebay.stores.sqlite.transaction import Session, Tx
from forebay.stores.sqlite.watch import Hub
from forebay.stores.sqlite.writer import DAMAGED, TRANSIENT, Order, Writer, damaged

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Backend:
    """One open store. Reads run on connections of their own; without any (a store in memory) in the writer's thread."""

    def __init__(self, writer: Writer, readers: Sequence[Session], hub: Hub, clock: Clock) -> None:
        self.hub = hub
        self.clock = clock
        self._writer = writer
        self._readers = list(readers)
        self._idle: SimpleQueue[Session] = SimpleQueue()
        for reader in readers:
            self._idle.put(reader)
        self._pool = ThreadPoolExecutor(len(readers), "forebay-sqlite-reader") if readers else None
        self._is_closed = False

    async def write(
        self,
        order: Order,
        run: Callable[[Tx, Sequence[Argument]], Sequence[Result | Exception]],
        argument: Argument,
    ) -> Result:
        """Runs a verb in the next commit and returns when that is durable.

        Raises: StoreUnavailable: nothing was written; try again.
        """
        result: Result = await self._writer.call(order, run, argument)
        return result

    async def read(self, query: Callable[[Session], Result], *, is_snapshot: bool = False) -> Result:
        """Runs a query that sees every commit acknowledged before; ``is_snapshot``: all its statements see the same."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        if self._pool is None:
            result: Result = await self._writer.call(Order.READ, _read, query)
            return result
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._query, query, is_snapshot)

    async def close(self) -> None:
        """Commits what is queued, then closes every connection."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown)
        for reader in self._readers:
            reader.connection.close()
        await self._writer.close()  # last: it copies the log into the file

    def _query(self, query: Callable[[Session], Result], is_snapshot: bool) -> Result:
        session = self._idle.get()  # there are as many as threads
        try:
            if not is_snapshot:
                return query(session)
            session.connection.execute("BEGIN")
            try:
                return query(session)
            finally:
                if session.connection.in_transaction:  # else SQLite itself has ended it, as it failed
                    session.connection.execute("ROLLBACK")
        except TRANSIENT as exc:
            raise StoreUnavailable(f"the store can't be read now: {exc}") from exc
        except DAMAGED as exc:
            raise damaged(exc) from exc
        finally:
            self._idle.put(session)


def _read(tx: Tx, queries: Sequence[Callable[[Session], Any]]) -> Sequence[Any]:
    return [query(tx) for query in queries]

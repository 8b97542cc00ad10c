"""The writer: verbs that arrive while a transaction commits go into the next one, so that one commit serves them all.

Within a transaction calls of the same kind are merged into one bulk execution. If anything raises, the transaction is
rolled back and every call runs again in a savepoint of its own. If the reply to the commit itself was lost, the server
is asked what became of the transaction, so that no verb runs twice and none that was done is called failed.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from forebay.domain.errors import ForebayError, StoreDamaged, StoreRefused, StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.ports import Clock
from forebay.stores.postgres.calls import Call, Order, Reply, Run, answer, plan
from forebay.stores.postgres.faults import BUSY, CROSSED, DAMAGED, LOST, UNWRITABLE, unavailable
from forebay.stores.postgres.home import Home
from forebay.stores.postgres.joins import settle_again
from forebay.stores.postgres.link import HASTY, Link
from forebay.stores.postgres.transaction import Lease, Session, Tx
from forebay.stores.postgres.workers import hand_back

MAX_CALLS = 2000  # of one transaction
ASIDE = "aside"
TRIES = 6  # of a transaction that crosses another's way
TRY_PAUSE_SECONDS = 0.02
ASK_PAUSE_SECONDS = 0.2
# One row: the time of the transaction, and its number and timeline, by which its end can be asked for. A standby that
# was promoted begins a timeline of its own, and may give the numbers that it has not heard of to other transactions.
_START = """SELECT extract(epoch FROM clock_timestamp())::float8, pg_current_xact_id()::text,
  left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"""
_STATUS = """SELECT CASE WHEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) = $2::text
  THEN pg_xact_status($1::text::xid8) ELSE 'elsewhere' END"""

Group = list[Call]
Signal = Callable[[Collection[str]], None]


class _InDoubt(Exception):
    """The commit was sent and its reply was lost."""

    def __init__(self, token: Sequence[str], replies: list[Reply], tx: Tx) -> None:
        super().__init__(*token)
        self.token, self.replies, self.tx = token, replies, tx


class _Done(NamedTuple):
    """A transaction that was committed."""

    tx: Tx
    replies: list[Reply]


class Means(NamedTuple):
    """What a writer is given: its bound on a transaction, a clock that is not the database's, ids, who is told."""

    timeout_seconds: float
    clock: Clock | None
    ids: IdSource
    signal: Signal


class Writer:
    """Two lanes, each a task with a connection: the hot verbs, and those that stand alone. A third connection, shared
    by both, is for what needs no durability.
    """

    def __init__(self, home: Home, links: Callable[[str], Link], means: Means) -> None:
        self._aside = Aside(links(ASIDE))
        self._hot = Lane(home, links("writer"), means, self._aside)
        self._alone = Lane(home, links("control"), means, self._aside)

    async def call(self, order: Order, run: Run, argument: Any) -> Any:
        """Queues one verb and waits for its commit. A cancelled caller's verb is committed all the same."""
        lane = self._alone if order is Order.BARRIER else self._hot
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        lane.put(Call(order, run, argument, loop, future, time.monotonic()))
        return await future

    async def close(self) -> None:
        """Commits what is queued and ends the lanes; on the home's loop."""
        await self._alone.close()
        await self._hot.close()
        await self._aside.close()


class Aside:
    """Statements in short transactions of their own that wait for no disk; one at a time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = asyncio.Lock()

    async def bulk(self, name: str, items: Collection[Any]) -> list[Any]:
        if not items:
            return []
        async with self._lock:
            try:
                return await self._execute(name, items)
            except LOST:  # while it lay idle; what is done twice moves a rank a little
                return await self._execute(name, items)

    async def close(self) -> None:
        async with self._lock:
            await self._link.close()

    async def _execute(self, name: str, items: Collection[Any]) -> list[Any]:
        async with self._link.alone(HASTY) as connection:
            return await Session(connection).bulk(name, items)


class Lane:
    """A queue, and the task that takes it into transactions on one connection."""

    def __init__(self, home: Home, link: Link, means: Means, aside: Aside) -> None:
        self._home = home
        self._link = link
        self._means = means
        self._aside = aside
        self._queue: deque[Call] = deque()
        self._wake = asyncio.Event()
        self._is_told = False  # that there is work
        self._is_closed = False
        self._leaked: list[Lease] = []  # of claims whose commit stayed in doubt: nobody was told of them
        self._task = asyncio.run_coroutine_threadsafe(self._serve(), home.loop)

    def put(self, call: Call) -> None:
        """Any thread."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        self._queue.append(call)
        if not self._is_told:
            self._is_told = True
            self._home.loop.call_soon_threadsafe(self._wake.set)

    async def close(self) -> None:
        self._is_closed = True
        self._wake.set()
        await asyncio.wrap_future(self._task)
        await self._link.close()

    async def _serve(self) -> None:
        while self._queue or not self._is_closed:
            if not self._queue:
                await self._wake.wait()
            self._wake.clear()
            self._is_told = False  # before the queue is read: what comes after that wakes again
            calls = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_CALLS))]
            for groups in plan(calls):
                waited = time.monotonic() - groups[0][0].since
                if waited > self._means.timeout_seconds:  # those before it have waited in vain for the server
                    answer(_all([call for group in groups for call in group], unavailable(TimeoutError())))
                else:
                    answer(await self._commit(groups))

    async def _commit(self, groups: list[Group]) -> list[Reply]:
        calls = [call for group in groups for call in group]
        try:
            async with asyncio.timeout(self._means.timeout_seconds):
                done = await self._run(groups)
        except (*LOST, *BUSY, StoreRefused) as exc:  # refused after it was opened: let in again, perhaps
            self._link.drop()
            return _all(calls, unavailable(exc))
        except ForebayError as exc:
            return _all(calls, exc)
        except Exception as exc:  # noqa: BLE001 -- the writer is a service loop: it outlives whatever goes wrong
            return _all(calls, unavailable(exc))
        await self._conclude(done.tx)
        return done.replies

    async def _run(self, groups: list[Group]) -> _Done:
        """As one transaction; if that fails by a call's own fault, each call in a savepoint."""
        try:
            return await self._repeat(groups, self._merged)
        except (*LOST, *BUSY, ForebayError):
            raise
        except Exception:  # noqa: BLE001 -- one call's fault, whichever it was: the careful run gives it to its caller
            return await self._repeat([[call] for group in groups for call in group], self._singly)

    async def _repeat(self, groups: list[Group], run: Callable[[Tx, Group], Awaitable[list[Reply]]]) -> _Done:
        """Until no other transaction is in the way."""
        for left in reversed(range(TRIES)):
            try:
                return await self._transact(groups, run)
            except CROSSED:
                if not left:
                    raise
                await asyncio.sleep(TRY_PAUSE_SECONDS * random.uniform(0.5, 2.0))  # noqa: S311 - jitter
            except _InDoubt as doubt:
                if await self._has_committed(doubt):
                    return _Done(doubt.tx, doubt.replies)
        raise StoreUnavailable("the store is too busy: this verb crossed others again and again; try again")

    async def _transact(self, groups: list[Group], run: Callable[[Tx, Group], Awaitable[list[Reply]]]) -> _Done:
        means = self._means
        doubt: _InDoubt | None = None
        try:
            async with self._link.transaction() as connection:
                [[now, *token]] = await connection.fetch(_START)
                if means.clock is not None:
                    now = means.clock.now()
                tx = Tx(connection, now, means.ids, self._aside.bulk)
                if self._leaked:
                    await hand_back(tx, self._leaked)
                replies = [reply for group in groups for reply in await run(tx, group)]
                doubt = _InDoubt(token, replies, tx)
        except (*LOST, asyncio.CancelledError) as exc:
            if doubt is None or isinstance(exc, asyncio.CancelledError):
                self._leaked += [] if doubt is None else doubt.tx.leases
                raise
            raise doubt from exc
        self._leaked = []
        return _Done(tx, replies)

    async def _has_committed(self, doubt: _InDoubt) -> bool:
        """Asks until the server says what became of the transaction; bounded by the time limit of the verb.

        Raises: StoreUnavailable: another server has taken over, and can't know it.
        """
        try:
            while True:
                with suppress(*LOST):
                    connection = await self._link.connection()
                    status = await connection.fetchval(_STATUS, *doubt.token)
                    if status == "elsewhere":
                        raise StoreUnavailable("a standby took over at the commit, which it may lack; try again")
                    if status != "in progress":
                        return bool(status == "committed")
                    await asyncio.sleep(ASK_PAUSE_SECONDS)
        except BaseException:
            self._leaked += doubt.tx.leases
            raise

    async def _conclude(self, tx: Tx) -> None:
        """After the commit: parents are settled once more, and hints are given."""
        topics = tx.topics
        if tx.unsettled:
            with suppress(*LOST, *BUSY, *CROSSED):  # the sweep does it then
                async with asyncio.timeout(self._means.timeout_seconds / 2):
                    topics |= await self._settle(tx)
        if topics:
            self._means.signal(topics)

    async def _settle(self, before: Tx) -> set[str]:
        async with self._link.transaction() as connection:
            tx = Tx(connection, before.now, before.ids, before.aside)
            await settle_again(tx, before.unsettled)
        return tx.topics

    @staticmethod
    async def _merged(tx: Tx, group: Group) -> list[Reply]:
        results = await group[0].run(tx, [call.argument for call in group])
        return list(zip(group, results, strict=True))

    @staticmethod
    async def _singly(tx: Tx, group: Group) -> list[Reply]:
        [call] = group
        try:
            return [(call, await _in_savepoint(tx, call))]
        except UNWRITABLE:
            scrubbing = Tx(tx.connection, tx.now, tx.ids, tx.aside, is_scrubbing=True)
            scrubbing.topics, scrubbing.unsettled, scrubbing.leases = tx.topics, tx.unsettled, tx.leases
            return [(call, await _in_savepoint(scrubbing, call))]


async def _in_savepoint(tx: Tx, call: Call) -> Any:
    topics, unsettled, leases = set(tx.topics), set(tx.unsettled), list(tx.leases)
    await tx.connection.execute("SAVEPOINT one")
    try:
        result = (await call.run(tx, [call.argument]))[0]
    except (*LOST, *BUSY, *CROSSED, asyncio.CancelledError):
        raise
    except Exception as exc:
        await tx.connection.execute("ROLLBACK TO SAVEPOINT one")
        tx.topics.intersection_update(topics)
        tx.unsettled.intersection_update(unsettled)
        tx.leases[:] = leases
        if isinstance(exc, UNWRITABLE):
            raise
        result = _told(exc)
    await tx.connection.execute("RELEASE SAVEPOINT one")
    return result


def _told(exc: Exception) -> Exception:
    """What a caller is told of a fault of its own call."""
    if isinstance(exc, DAMAGED):
        damaged = StoreDamaged(f"the database is damaged ({exc}); nothing was acknowledged: restore it from a copy")
        damaged.__cause__ = exc
        return damaged
    return exc


def _all(calls: Iterable[Call], error: Exception) -> list[Reply]:
    return [(call, error) for call in calls]

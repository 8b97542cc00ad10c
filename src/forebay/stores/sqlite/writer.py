"""The writer: one thread, one connection, one transaction for all verbs that arrived while the last one committed.

Within a transaction calls of the same kind are merged into one bulk execution, and run in the order of ``Order``. If
anything raises, the transaction is rolled back and every call runs again in a savepoint of its own.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import apsw

from forebay.domain.errors import ForebayError, StoreDamaged, StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.ports import Clock
from forebay.stores.sqlite.recent import Recent
from forebay.stores.sqlite.transaction import Redo, Tx

MAX_CALLS = 2000  # of one commit
RETRY_POLL_SECONDS = 1.0
TRANSIENT = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.FullError,
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.NoMemError,
    apsw.PermissionsError,
    apsw.ProtocolError,
)
DAMAGED = (apsw.CorruptError, apsw.NotADBError)


class Order(IntEnum):
    """In which order one commit runs what arrived for it between two barriers. A caller that awaits each reply can't
    tell; one that doesn't finds its adds before its claims, and its begins before its applies.
    """

    ADD = 1
    BEGIN = 2
    APPEND = 3
    APPLY = 4
    SETTLE = 5
    CLAIM = 6
    READ = 7  # of a store in memory, which has one connection
    BARRIER = 8  # all other verbs: where they stand


class Call(NamedTuple):
    """One awaited verb. ``run`` takes the arguments of all merged calls and returns one result for each; a result that
    is an exception is raised to its caller, and the others stand.
    """

    order: Order
    run: Callable[[Tx, Sequence[Any]], Sequence[Any]]
    argument: Any
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"


Reply = tuple[Call, Any]
_STOP = object()


class Writer:
    """Owns the write connection and its thread."""

    def __init__(
        self,
        connection: apsw.Connection,
        clock: Clock,
        ids: IdSource,
        signal: Callable[[Iterable[str]], None],
        poll: Callable[[apsw.Connection], float | None],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._ids = ids
        self._signal = signal
        self._poll = poll  # looks for other processes' commits; returns seconds until the next look
        self._recent = Recent()
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name="forebay-sqlite-writer", daemon=True)

    def start(self) -> None:
        """Starts the thread. A simulation has none: its writer commits in turns of its own loop."""
        self._thread.start()

    async def call(self, order: Order, run: Callable[[Tx, Sequence[Any]], Sequence[Any]], argument: Any) -> Any:
        """Queues one verb and waits for its commit. A cancelled caller's verb is committed all the same."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.put(Call(order, run, argument, loop, future))
        return await future

    def wake(self) -> None:
        """Makes the thread look at its poll once more."""
        self._queue.put(None)

    async def close(self) -> None:
        """Commits what is queued, ends the thread and closes the connection."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(_STOP)
            await asyncio.to_thread(self._thread.join)
            self._connection.close()

    def _serve(self) -> None:
        pause: float | None = None
        while True:
            calls, is_stopping = self._gather(pause)
            if calls:
                self._answer(self._commit(calls))
            if is_stopping:
                self._refuse()
                return
            try:
                pause = self._poll(self._connection)
            except Exception:  # noqa: BLE001 -- hints only: the writer outlives whatever goes wrong with them
                pause = RETRY_POLL_SECONDS

    def _gather(self, pause: float | None) -> tuple[list[Call], bool]:
        calls: list[Call] = []
        try:
            item = self._queue.get(timeout=pause)
            while len(calls) < MAX_CALLS:
                if item is _STOP:
                    return calls, True
                if item is not None:
                    calls.append(item)
                item = self._queue.get_nowait()
            if item is _STOP:
                return calls, True
            calls.append(item)
        except Empty:
            pass
        return calls, False

    def _refuse(self) -> None:
        """Answers calls that raced with ``close``."""
        calls, _ = self._gather(0.001)
        self._answer([(call, StoreUnavailable("the store is closed")) for call in calls])

    def _commit(self, calls: list[Call]) -> list[Reply]:
        groups = plan(calls)
        try:
            try:
                return self._transact(groups, self._merged)
            except Redo:
                return self._transact(groups, self._merged, is_careful=True)
        except TRANSIENT as exc:
            return _all_unavailable(calls, exc)
        except Exception:  # noqa: BLE001 -- one call's fault, whichever it was: the careful run below gives it to its caller
            return self._commit_carefully(groups, calls)

    def _commit_carefully(self, groups: list[list[Call]], calls: list[Call]) -> list[Reply]:
        try:
            return self._transact([[call] for group in groups for call in group], self._alone, is_careful=True)
        except TRANSIENT as exc:
            return _all_unavailable(calls, exc)
        except DAMAGED as exc:
            return [(call, damaged(exc)) for call in calls]
        except Exception as exc:  # noqa: BLE001 -- the writer is a service loop: it outlives whatever goes wrong
            return [(call, _caused(StoreUnavailable(f"the store failed: {exc}"), exc)) for call in calls]

    def _transact(
        self, groups: list[list[Call]], run: Callable[[Tx, list[Call]], list[Reply]], *, is_careful: bool = False
    ) -> list[Reply]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            tx = Tx(connection, self._clock.now(), self._ids, self._recent, is_careful=is_careful)
            replies = [reply for group in groups for reply in run(tx, group)]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._recent.keep(tx.added, tx.now)
        if tx.topics:
            self._signal(tx.topics)
        return replies

    @staticmethod
    def _merged(tx: Tx, group: list[Call]) -> list[Reply]:
        results = group[0].run(tx, [call.argument for call in group])
        return list(zip(group, results, strict=True))

    @staticmethod
    def _alone(tx: Tx, group: list[Call]) -> list[Reply]:
        call = group[0]
        topics, added = set(tx.topics), len(tx.added)
        tx.connection.execute("SAVEPOINT one")
        try:
            result = call.run(tx, [call.argument])[0]
        except TRANSIENT:
            raise
        except Exception as exc:
            if not tx.connection.in_transaction:
                raise  # SQLite itself rolled everything back: nothing may be acknowledged
            tx.connection.execute("ROLLBACK TO one")
            tx.topics = topics
            del tx.added[added:]
            result = damaged(exc) if isinstance(exc, DAMAGED) else exc
        tx.connection.execute("RELEASE one")
        return [(call, result)]

    @staticmethod
    def _answer(replies: list[Reply]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[Reply]] = {}
        for reply in replies:
            loops.setdefault(reply[0].loop, []).append(reply)
        for loop, theirs in loops.items():
            try:
                loop.call_soon_threadsafe(_resolve, theirs)
            except RuntimeError:  # that loop is closed: nobody waits any more
                continue


def plan(calls: Iterable[Call]) -> list[list[Call]]:
    """Groups calls that may run as one, in the order in which they run."""
    groups: list[list[Call]] = []
    hot: dict[Order, list[Call]] = {}
    for call in calls:
        if call.order is Order.BARRIER:
            groups += [hot[order] for order in sorted(hot)]
            hot = {}
            groups.append([call])
        else:
            hot.setdefault(call.order, []).append(call)
    return groups + [hot[order] for order in sorted(hot)]


def damaged(exc: Exception) -> StoreDamaged:
    """What a caller is told whose rows stand on a damaged page."""
    text = f"the store's file is damaged ({exc}); nothing was acknowledged: restore it from a copy"
    error = StoreDamaged(text)
    error.__cause__ = exc
    return error


def _resolve(replies: list[Reply]) -> None:
    for call, result in replies:
        if call.future.done():
            continue
        if isinstance(result, BaseException):
            call.future.set_exception(result)
        else:
            call.future.set_result(result)


def _all_unavailable(calls: list[Call], exc: BaseException) -> list[Reply]:
    text = f"the store can't be written now ({exc}); nothing was acknowledged, try again"
    return [(call, _caused(StoreUnavailable(text), exc)) for call in calls]


def _caused(error: ForebayError, cause: BaseException) -> ForebayError:
    error.__cause__ = cause
    return error

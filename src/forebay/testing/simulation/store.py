"""One store in memory for all processes, each with a writer of its own that commits in turns of the simulated loop.

A verb is gathered, its transaction runs some time later, its caller hears of it later still: whoever dies or stands
still in between does so before the commit, or after it and before the reply. The reply itself may be lost.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, cast

import apsw

from forebay.domain.change import Claimed, Worker
from forebay.domain.errors import StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.policy.vigil import PATIENCE_SECONDS, Vigil
from forebay.ports import Clock
from forebay.stores.sqlite.backend import Backend
from forebay.stores.sqlite.opening import SqliteStore
from forebay.stores.sqlite.statements import migrations
from forebay.stores.sqlite.transaction import Tx
from forebay.stores.sqlite.watch import Hub
from forebay.stores.sqlite.workers import free_leases
from forebay.stores.sqlite.writer import MAX_CALLS, Call, Order, Reply, Writer
from forebay.testing.simulation.loop import STRAND
from forebay.testing.simulation.processes import Process

STATEMENTS = 200
Turn = Callable[[Process, Sequence[str]], None]


class FailingConnection(apsw.Connection):
    """A connection whose next transaction can be made to fail, as it begins, in the middle, or at its commit."""

    fails_in: int | None = None  # statements from now
    fails_at_commit = False
    _has_failed = False

    def has_failed(self) -> bool:
        """Whether the last transaction was made to fail. What was planned for it and did not come about is dropped."""
        failed, self._has_failed = self._has_failed, False
        self.fails_in, self.fails_at_commit = None, False
        return failed

    def execute(self, statements: str, *arguments: Any, **options: Any) -> apsw.Cursor:
        if self.fails_in is not None and not statements.startswith("ROLLBACK"):  # that needs nothing of the disk
            self.fails_in -= 1
            if self.fails_in < 0:
                self.fails_in, self._has_failed = None, True
                raise apsw.BusyError("simulated: the database is locked")
        if self.fails_at_commit and statements == "COMMIT":
            self.fails_at_commit, self._has_failed = False, True
            raise apsw.FullError("simulated: the disk is full")
        return super().execute(statements, *arguments, **options)


def open_memory() -> FailingConnection:
    """A new store in memory, with all its tables."""
    connection = FailingConnection(":memory:", statementcachesize=STATEMENTS)
    connection.deserialize("main", _template())
    return connection


class TurnWriter(Writer):
    """A Writer without a thread. ``before`` and ``after`` are asked around each commit: there a process may die."""

    def __init__(
        self,
        connection: FailingConnection,
        clock: Clock,
        ids: IdSource,
        signal: Callable[[Iterable[str]], None],
        place: "Place",
    ) -> None:
        super().__init__(connection, clock, ids, signal, lambda _: None)
        self._place = place
        self._gathered: list[Call] = []
        self._leaked: list[int] = []  # fences of claims of which nobody was told
        self._is_busy = False

    async def call(self, order: Order, run: Callable[[Tx, Sequence[Any]], Sequence[Any]], argument: Any) -> Any:
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        future = asyncio.get_running_loop().create_future()
        # Replies go to the caller's thread: a strand takes them as an event loop does.
        caller = cast(asyncio.AbstractEventLoop, STRAND.get())
        self._gathered.append(Call(order, run, argument, caller, future))
        if not self._is_busy:
            self._is_busy = True
            self._later(self._gather_turn)
        return await future

    async def close(self) -> None:
        self._is_closed = True

    def _gather_turn(self) -> None:
        calls, self._gathered = self._gathered[:MAX_CALLS], self._gathered[MAX_CALLS:]
        if calls:
            self._later(self._commit_turn, calls)
        else:
            self._is_busy = False

    def _commit_turn(self, calls: list[Call]) -> None:
        place = self._place
        names = [verb_of(call) for call in calls]
        place.before(place.process, names)
        if place.process.is_over:
            return
        if place.process.writer.is_held:
            self._later(self._commit_turn, calls)
            return
        replies = self._commit_after_leaks(calls)
        if place.is_in_doubt():
            replies = self._doubted(replies)
            names.append("(its replies are lost)")
        place.after(place.process, names)
        self._later(self._reply_turn, replies)

    def _commit_after_leaks(self, calls: list[Call]) -> list[Reply]:
        """Hands back first what a claim leased whose reply was lost, as the port promises."""
        if not self._leaked:
            return self._commit(calls)
        returning = Call(Order.BARRIER, _hand_back, self._leaked, calls[0].loop, calls[0].future)
        (_, problem), *replies = self._commit([returning, *calls])
        if not isinstance(problem, Exception):
            self._leaked = []
        return replies

    def _doubted(self, replies: list[Reply]) -> list[Reply]:
        for call, result in replies:
            if call.order is Order.CLAIM and not isinstance(result, Exception):
                claimed: list[Claimed] = result
                self._leaked += [one.fence for one in claimed]
        lost = StoreUnavailable("simulated: the reply to the commit is lost")
        return [(call, result if isinstance(result, Exception) else lost) for call, result in replies]

    def _reply_turn(self, replies: list[Reply]) -> None:
        self._answer(replies)
        self._gather_turn()

    def _later(self, turn: Callable[..., None], *arguments: object) -> None:
        strand = self._place.process.writer
        strand.loop.call_later(self._place.latency(), turn, *arguments, context=strand.context)


class Place:
    """What a writer has of the world: whose it is, how long things take, and what may break."""

    def __init__(
        self, process: Process, latency: Callable[[], float], before: Turn, after: Turn, is_in_doubt: Callable[[], bool]
    ) -> None:
        self.process = process
        self.latency = latency
        self.before = before
        self.after = after
        self.is_in_doubt = is_in_doubt


def open_for(
    place: Place,
    connection: FailingConnection,
    clock: Clock,
    ids: IdSource,
    signal: Callable[[Iterable[str]], None],
    is_gone: Callable[[Worker], bool],
) -> tuple[SqliteStore, Hub]:
    """A process's view of the store, and its watches, which ``signal`` has to reach."""
    hub = Hub(is_shared=False)
    writer = TurnWriter(connection, clock, ids, signal, place)
    vigil = Vigil(PATIENCE_SECONDS, place.process.main.loop.time)
    return SqliteStore(Backend(writer, [], hub, clock), is_gone, vigil), hub


def verb_of(call: Call) -> str:
    """What a call does, for the trace."""
    return call.order.name.lower()


def _hand_back(tx: Tx, arguments: Sequence[list[int]]) -> list[None]:
    for fences in arguments:
        free_leases(tx, fences, is_counted=False)
    return [None] * len(arguments)


@cache
def _template() -> bytes:
    connection = apsw.Connection(":memory:")
    for _, text in migrations():
        connection.execute(text)
    return connection.serialize("main")

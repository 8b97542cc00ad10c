"""Link: one connection that comes back by itself, and the transactions on it.

Our manners (where to look, how long to take, how to plan) are told once, as a connection is made. Where the address
says ``pooler=transaction`` no state of a session is relied on: each transaction tells them by itself, no statement
outlives it, and every statement is in one, so that a pooler may lend another server for each.
"""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import asyncpg

from forebay.domain.errors import StoreRefused, StoreUnavailable
from forebay.stores.postgres.faults import LOST
from forebay.stores.postgres.place import Place


class Connection(Protocol):
    """What we use of asyncpg's connection, which comes without types."""

    async def execute(self, query: str, *args: object) -> str: ...

    async def fetch(self, query: str, *args: object) -> list[Any]: ...

    async def fetchval(self, query: str, *args: object) -> Any: ...

    async def add_listener(self, channel: str, callback: Callable[[object, int, str, object], None]) -> None: ...

    async def close(self, *, timeout: float | None = None) -> None: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...

    def get_server_version(self) -> Any: ...

    def get_server_pid(self) -> int: ...


CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
STATEMENT_SHARE, LOCK_SHARE, IDLE_SHARE = 0.7, 0.35, 0.7  # of the client's own bound on a transaction
PAUSES_SECONDS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # before the next try to connect; halved at random
STATEMENTS = 300  # kept prepared
KEEPALIVE_SECONDS, KEEPALIVE_EVERY_SECONDS, KEEPALIVE_TIMES = 15, 5, 3
UNACKNOWLEDGED_MS = 20_000  # then the kernel gives the connection up

WRITING = "BEGIN"
READING = "BEGIN READ ONLY"
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
HASTY = "BEGIN; SET LOCAL synchronous_commit = off"  # for what a crash of the server may forget
_REFUSED = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,  # a wrong password too
)


def manners(place: Place) -> dict[str, str]:
    """What each transaction says of itself.

    Every statement here is about a bounded number of rows that an index finds; what the planner thinks of a table after
    its last ANALYZE must not make it read, hash or sort the whole of it.
    """
    return {
        "search_path": place.quoted_schema,
        "statement_timeout": _milliseconds(place, STATEMENT_SHARE),
        "lock_timeout": _milliseconds(place, LOCK_SHARE),
        "idle_in_transaction_session_timeout": _milliseconds(place, IDLE_SHARE),
        "jit": "off",
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
    }


class Link:
    """One connection to the store, made when it is needed; used by one task at a time."""

    def __init__(self, place: Place, name: str, *, is_hasty: bool = False) -> None:
        self._place = place
        self._settings = {"application_name": f"forebay {name}", **manners(place)}
        if is_hasty:
            self._settings["synchronous_commit"] = "off"
        self._connection: Connection | None = None
        self._failures = 0
        self._is_closed = False
        local = [f"SET LOCAL {name} = {value}" for name, value in manners(place).items()]
        self._local = "; ".join(["", *local]) if place.is_pooled else ""

    @asynccontextmanager
    async def transaction(self, begin: str = WRITING) -> AsyncIterator[Connection]:
        """A transaction, committed at the end of the block, rolled back if that raises.

        Raises: whatever the driver does; one of LOST: the connection is gone, and with it the transaction.
        """
        connection = await self._begin(begin)
        try:
            yield connection
            if await connection.execute("COMMIT") != "COMMIT":
                raise asyncpg.InternalServerError("the transaction had failed before its commit")
        except asyncpg.PostgresError as exc:
            if isinstance(exc, LOST):
                self.drop()
            else:
                await self._roll_back(connection)
            raise
        except BaseException as exc:
            if isinstance(exc, (*LOST, asyncio.CancelledError)):
                self.drop()
            else:
                await self._roll_back(connection)
            raise

    @asynccontextmanager
    async def alone(self, begin: str) -> AsyncIterator[Connection]:
        """For statements of which each stands for itself: in a transaction only where a pooler wants one.

        Raises: as ``transaction``; one of LOST may also mean that the connection was cut off while it lay idle.
        """
        if self._place.is_pooled:
            async with self.transaction(begin) as connection:
                yield connection
            return
        connection = await self.connection()
        try:
            yield connection
        except (*LOST, asyncio.CancelledError):
            self.drop()
            raise

    async def connection(self) -> Connection:
        """The open connection, or a new one after a pause that grows with every failure.

        Raises: one of LOST; StoreRefused: there is no such database, or not for us; StoreUnavailable: it is closed.
        """
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        self._connection = None
        pause = PAUSES_SECONDS[min(self._failures, len(PAUSES_SECONDS) - 1)]
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        try:
            async with asyncio.timeout(min(CONNECT_SECONDS, self._place.timeout_seconds / 2)):
                self._connection = await self._connect()
        except _REFUSED as exc:
            self._failures += 1
            raise StoreRefused(f"{self._place.shown} does not let us in: {exc}") from exc
        except asyncpg.ProtocolViolationError as exc:
            self._failures += 1
            if "startup parameter" not in str(exc):
                raise
            raise StoreRefused(
                f"{self._place.shown} is a pooler ({exc}): add ?pooler=transaction to the store's address"
            ) from exc
        except BaseException:
            self._failures += 1
            raise
        self._failures = 0
        if self._is_closed:  # meanwhile: nobody would close this connection
            self.drop()
            raise StoreUnavailable("the store is closed")
        return self._connection

    def drop(self) -> None:
        """Gives the connection up at once; the next use makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        self._is_closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*LOST, asyncpg.PostgresError):
                await connection.close(timeout=CLOSE_SECONDS)

    async def _connect(self) -> Connection:
        place = self._place
        connection: Connection = await asyncpg.connect(
            place.dsn,
            timeout=CONNECT_SECONDS,
            statement_cache_size=0 if place.is_pooled else STATEMENTS,
            max_cached_statement_lifetime=0,
            server_settings=None if place.is_pooled else self._settings,
        )
        _keep_alive(connection)
        return connection

    async def _begin(self, begin: str) -> Connection:
        """A connection that was cut off while it lay idle is found out here: nothing is lost by taking another."""
        was_open = self._connection is not None
        connection = await self.connection()
        try:
            await connection.execute(begin + self._local)
        except BaseException as exc:
            self.drop()
            if not (was_open and isinstance(exc, LOST)) or isinstance(exc, TimeoutError):
                raise
        else:
            return connection
        connection = await self.connection()
        try:
            await connection.execute(begin + self._local)
        except BaseException:
            self.drop()
            raise
        return connection

    async def _roll_back(self, connection: Connection) -> None:
        try:
            await connection.execute("ROLLBACK")
        except (*LOST, asyncpg.PostgresError, asyncio.CancelledError):
            self.drop()


def _milliseconds(place: Place, share: float) -> str:
    return str(max(1, int(place.timeout_seconds * share * 1000)))


def _keep_alive(connection: Connection) -> None:
    """Finds out soon that the other end is gone: an idle listener would wait for ever."""
    transport = getattr(connection, "_transport", None)
    held = None if transport is None else transport.get_extra_info("socket")
    if held is None or held.family == socket.AF_UNIX:
        return
    held.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_SECONDS),
        ("TCP_KEEPINTVL", KEEPALIVE_EVERY_SECONDS),
        ("TCP_KEEPCNT", KEEPALIVE_TIMES),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
    ):
        if hasattr(socket, option):  # not on every system
            held.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

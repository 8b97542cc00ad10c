"""A pool of connections to somebody's PostgreSQL, as data sources use it: bounded, opened on demand, told of in errors
without the address's password.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg

from forebay.domain.errors import (
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetTimeout,
    TargetUnavailable,
)

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 60.0
DEFAULT_CONNECTIONS = 4
REASON_CHARACTERS = 300
#: What may be otherwise in a moment: the server starts, stops, is full, or the network is away.
_PASSING = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalClientError,
)
_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)


class Cursor(Protocol):
    """What we use of asyncpg's cursor."""

    async def fetch(self, count: int) -> list[Any]: ...


class Statement(Protocol):
    """What we use of a prepared statement."""

    def get_attributes(self) -> tuple[Any, ...]: ...

    def get_parameters(self) -> tuple[Any, ...]: ...

    async def cursor(self, *args: object) -> Cursor: ...


class Connection(Protocol):
    """What we use of asyncpg's connection, which comes without types."""

    async def execute(self, query: str, *args: object) -> str: ...

    async def fetch(self, query: str, *args: object) -> list[Any]: ...

    async def fetchrow(self, query: str, *args: object) -> Any: ...

    async def fetchval(self, query: str, *args: object) -> Any: ...

    async def prepare(self, query: str) -> Statement: ...

    def transaction(self, *, readonly: bool = False) -> Any: ...


class PostgresPool:
    """Connections to one database. ``name`` is what messages call it."""

    def __init__(self, url: str, name: str, *, connections: int = DEFAULT_CONNECTIONS) -> None:
        self._url = url
        self._name = name
        self._connections = connections
        self._pool: Any = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for the block, waited for while all are in use. Cancelling cancels its statement.

        Raises: TargetUnavailable, TargetRejected, TargetFailed: what the database says, also of the block's statements.
        """
        try:
            pool = await self._opened()
            async with pool.acquire() as connection:
                yield connection
        except TargetError:
            raise
        except Exception as exc:
            error = self._told(exc)
            if error is None:
                raise
            raise error from exc

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                try:
                    self._pool = await asyncpg.create_pool(
                        self._url,
                        min_size=0,
                        max_size=self._connections,
                        max_inactive_connection_lifetime=IDLE_SECONDS,
                        timeout=CONNECT_SECONDS,
                        statement_cache_size=0,  # behind a pooler no statement outlives its transaction
                    )
                except (ValueError, asyncpg.InterfaceError) as exc:
                    raise TargetRejected(f"{self._name}: its address is none of PostgreSQL's") from exc
            return self._pool

    def _told(self, error: Exception) -> TargetError | None:
        """What an error means; None: it is not the database's."""
        text = " ".join(str(error).split())[:REASON_CHARACTERS]
        if isinstance(error, asyncpg.QueryCanceledError):
            return TargetTimeout(f"{self._name}: {text}")
        if isinstance(error, _PASSING):
            return TargetUnavailable(f"{self._name} can't be asked now: {text or type(error).__name__}")
        if isinstance(error, _AGAIN):
            return TargetFailed(f"{self._name}: {text}")
        if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
            return TargetRejected(f"{self._name}: {text}")
        return None

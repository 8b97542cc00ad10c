"""Which faults of the database mean what: away for now, two transactions in each other's way, or the call's own."""

import os

import asyncpg

from forebay.domain.errors import StoreUnavailable

# The server, or the way to it, is not there: nothing is known of what was under way on that connection.
LOST = (
    OSError,
    TimeoutError,
    EOFError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ProtocolViolationError,
)
# It is there and can't do it now; the transaction was rolled back.
BUSY = (
    asyncpg.QueryCanceledError,  # statement_timeout
    asyncpg.LockNotAvailableError,  # lock_timeout
    asyncpg.InsufficientResourcesError,  # disk full, out of memory
    asyncpg.ReadOnlySQLTransactionError,  # a standby: the failover is not over
    asyncpg.PostgresSystemError,
)
# Two transactions were in each other's way, or a migration changed a table beneath a statement that was prepared; what
# was given up runs again.
CROSSED = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.InvalidCachedStatementError,
)
UNWRITABLE = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)  # U+0000 in a text
DAMAGED = (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError)


def reason_of(exc: BaseException) -> str:
    """In a person's words, as far as the fault has any."""
    if isinstance(exc, OSError) and exc.errno is not None and exc.errno > 0:
        return os.strerror(exc.errno)
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return str(exc) or ("it does not answer" if isinstance(exc, TimeoutError) else type(exc).__name__)


def unavailable(exc: BaseException) -> StoreUnavailable:
    """What a caller is told whose verb can't be done now."""
    error = StoreUnavailable(f"the store can't be reached now ({reason_of(exc)}); nothing was acknowledged, try again")
    error.__cause__ = exc
    return error

"""DuckDB files that are read while others replace them: each statement sees the file that stands there as it begins.

A file is attached read-only to a database in memory that can reach nothing else: no other file, no network, no
extension, and no setting that would allow them.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import duckdb

from forebay.domain.errors import TargetError, TargetFailed, TargetRejected, TargetUnavailable
from forebay.threads import DaemonPool

T = TypeVar("T")
READER_MEMORY = "1GB"  # of one file's readers together; who needs more is told
MOST_THREADS = 4
DEFAULT_READERS = 8
REASON_CHARACTERS = 300
#: Nothing is fetched or loaded by itself, whoever asks.
ALONE = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_CLOSED_OFF = ("enable_external_access=false", "lock_configuration=true")


class Connection(Protocol):
    """What we use of DuckDB's connection, which comes without types."""

    def execute(self, query: str, parameters: object = None) -> "Connection": ...

    def extract_statements(self, query: str) -> list[Any]: ...

    @property
    def description(self) -> list[Any] | None: ...

    def fetchone(self) -> tuple[Any, ...] | None: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]: ...

    def cursor(self) -> "Connection": ...

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


class _Opened(NamedTuple):
    identity: tuple[int, int, int, int]
    connection: Connection


class DuckFile:
    """One file, read by so many at once. ``name`` is what messages call it: a path is nobody's but the operator's."""

    def __init__(self, path: Path, name: str, *, readers: int = DEFAULT_READERS) -> None:
        self._path = path
        self._name = name
        self._pool = DaemonPool(readers, f"duckdb-{path.stem}")
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs ``work`` in a thread with a connection of its own. Cancelling interrupts its statement.

        Raises: TargetRejected: there is no such file, or the statement is wrong. TargetUnavailable: it is being
        written by another process.
        """
        reading = _Reading()
        try:
            outcome = await self._pool.run(lambda: self._outcome(reading, work))
        except asyncio.CancelledError:
            reading.stop()
            raise
        if isinstance(outcome, TargetError):
            raise outcome
        return outcome

    async def close(self) -> None:
        self._pool.close()
        await asyncio.to_thread(self._drop)

    def _drop(self) -> None:
        """Closes the file with the last statement under way: closing it now would close their connections."""
        with self._lock:
            self._opened = None

    def _outcome(self, reading: "_Reading", work: Callable[[Connection], T]) -> T | TargetError:
        try:
            cursor = self._cursor()
            try:
                reading.begin(cursor)
                cursor.execute("USE source")
                return work(cursor)
            finally:
                cursor.close()
        except TargetError as error:
            return error
        except duckdb.Error as error:
            return self._told(error)
        except OSError as error:
            return TargetUnavailable(f"{self._name} can't be read: {error.strerror}")
        except (ValueError, TypeError, RecursionError) as error:  # a value that it has no type for
            return TargetRejected(f"{self._name}: {str(error)[:REASON_CHARACTERS]}")

    def _cursor(self) -> Connection:
        """A connection of its own to the file that stands there now."""
        with self._lock:
            try:
                found = self._path.stat()
            except (FileNotFoundError, NotADirectoryError):
                raise TargetRejected(f"{self._name}: its file does not exist") from None
            identity = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
            if self._opened is None or self._opened.identity != identity:
                self._opened = None  # statements under way keep theirs until they end
                self._opened = _Opened(identity, _attached(self._path))
            return self._opened.connection.cursor()  # refused while another thread asks for one

    def _told(self, error: duckdb.Error) -> TargetError:
        text = " ".join(str(error).replace(str(self._path), self._path.name).split())[:REASON_CHARACTERS]
        if isinstance(error, duckdb.IOException) or "already attached" in text:
            return TargetUnavailable(f"{self._name} can't be read now: {text}")
        if isinstance(error, duckdb.InternalException | duckdb.FatalException):
            self._opened = None
            return TargetFailed(f"{self._name} failed: {text}")
        return TargetRejected(f"{self._name}: {text}")


class _Reading:
    """A statement that may be asked to stop before it has begun."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cursor: Connection | None = None
        self._is_stopped = False

    def begin(self, cursor: Connection) -> None:
        with self._lock:
            if self._is_stopped:
                raise TargetFailed("it was given up before it began")
            self._cursor = cursor

    def stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            if self._cursor is not None:
                self._cursor.interrupt()


def _attached(path: Path) -> Connection:
    threads = str(min(os.cpu_count() or 1, MOST_THREADS))
    config = {**ALONE, "memory_limit": READER_MEMORY, "threads": threads, "temp_directory": ""}
    connection: Connection = duckdb.connect(":memory:", config=dict(config))
    try:
        quoted = str(path).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS source (READ_ONLY)")
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        for setting in _CLOSED_OFF:
            connection.execute(f"SET {setting}")
    except BaseException:
        connection.close()
        raise
    return connection

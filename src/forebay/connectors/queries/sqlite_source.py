"""A SQLite file that is asked: opened read-only, with an authorizer that allows reading and nothing else."""

import asyncio
import threading
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import apsw
import msgspec

from forebay.connectors.queries.rows import RowGatherer
from forebay.domain.data_source import MOST_RESULT_BYTES, QueryResult
from forebay.domain.errors import TargetError, TargetFailed, TargetRejected, TargetUnavailable
from forebay.policy.sql_text import Statement
from forebay.threads import DaemonPool

DEFAULT_CONNECTIONS = 8
FETCHED_ROWS = 200
BUSY_MILLISECONDS = 5000
REASON_CHARACTERS = 300
_READING = frozenset({apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_RECURSIVE})
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})
_PASSING = (apsw.BusyError, apsw.LockedError, apsw.CantOpenError, apsw.IOError, apsw.NoMemError, apsw.ProtocolError)


class _Opened(NamedTuple):
    identity: tuple[int, int]
    connection: apsw.Connection


class SqliteSource:
    """``QuerySource`` over a file."""

    def __init__(self, path: Path, name: str, *, connections: int | None = None) -> None:
        self._path = path
        self._name = name
        self._pool = DaemonPool(connections or DEFAULT_CONNECTIONS, f"sqlite-{path.stem}")
        self._idle: list[_Opened] = []

    async def query(
        self,
        statement: Statement,
        values: Mapping[str, Any],
        *,
        most_rows: int,
        timeout_seconds: float,  # noqa: ARG002 - whoever waits cancels: the statement ends with them
    ) -> QueryResult:
        asking = _Asking()
        try:
            outcome = await self._pool.run(lambda: self._outcome(asking, statement, values, most_rows))
        except asyncio.CancelledError:
            asking.stop()
            raise
        if isinstance(outcome, TargetError):
            raise outcome
        return outcome

    async def check(self) -> str:
        await self.query(
            Statement(text="SELECT count(*) FROM sqlite_schema", names=()), {}, most_rows=1, timeout_seconds=10
        )
        return "the file can be read"

    async def close(self) -> None:
        self._pool.close()
        while self._idle:
            self._idle.pop().connection.close()

    def _outcome(
        self, asking: "_Asking", statement: Statement, values: Mapping[str, Any], most_rows: int
    ) -> QueryResult | TargetError:
        opened: _Opened | None = None
        result: QueryResult | TargetError
        try:
            opened = self._taken()
            asking.begin(opened.connection)
            result = _asked(opened.connection, statement, values, most_rows)
        except TargetError as error:
            result = error
        except apsw.Error as error:
            return self._told(error)  # and the connection is dropped
        except (TypeError, ValueError, OverflowError) as error:
            result = TargetRejected(f"{self._name}: {str(error)[:REASON_CHARACTERS]}")
        if asking.end() and opened is not None:
            self._idle.append(opened)
        return result

    def _taken(self) -> _Opened:
        """An idle connection to the file that stands there now, or a new one."""
        try:
            found = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise TargetRejected(f"{self._name}: its file does not exist") from None
        except OSError as exc:
            raise TargetUnavailable(f"{self._name} can't be read: {exc.strerror}") from exc
        identity = (found.st_dev, found.st_ino)
        while True:
            try:
                opened = self._idle.pop()
            except IndexError:
                return _Opened(identity, _opened(self._path))
            if opened.identity == identity:
                return opened
            opened.connection.close()  # the file was replaced

    def _told(self, error: apsw.Error) -> TargetError:
        text = " ".join(str(error).replace(str(self._path), self._path.name).split())[:REASON_CHARACTERS]
        if isinstance(error, _PASSING):
            return TargetUnavailable(f"{self._name} can't be read now: {text}")
        if isinstance(error, apsw.InterruptError):
            return TargetFailed(f"{self._name}: the statement was given up")
        if isinstance(error, apsw.AuthError | apsw.ReadOnlyError):
            return TargetRejected(f"{self._name}: one SELECT can be asked, nothing else ({text})")
        return TargetRejected(f"{self._name}: {text}")


class _Asking:
    """A statement that may be asked to stop before it has begun, and never after its end: the connection is then
    another's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._is_stopped = False

    def begin(self, connection: apsw.Connection) -> None:
        with self._lock:
            if self._is_stopped:
                raise TargetFailed("it was given up before it began")
            self._connection = connection

    def end(self) -> bool:
        """Returns whether the connection may be used again."""
        with self._lock:
            self._connection = None
            return not self._is_stopped

    def stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            if self._connection is not None:
                self._connection.interrupt()


def _opened(path: Path) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{quote(str(path))}?mode=ro", flags=flags)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, MOST_RESULT_BYTES)
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
    connection.authorizer = _allowed
    return connection


def _allowed(operation: int, *names: str | None) -> int:
    is_reading = operation in _READING or (
        operation == apsw.SQLITE_FUNCTION and (names[1] or "").lower() not in _REFUSED_FUNCTIONS
    )
    return apsw.SQLITE_OK if is_reading else apsw.SQLITE_DENY


def _asked(connection: apsw.Connection, statement: Statement, values: Mapping[str, Any], most_rows: int) -> QueryResult:
    columns: list[str] = []

    def begun(cursor: apsw.Cursor, _text: str, _values: object) -> bool:
        """Before the first row: afterwards an answer without rows has no columns any more."""
        columns.extend(column[0] for column in cursor.get_description())
        return True

    cursor = connection.cursor()
    cursor.exec_trace = begun
    try:
        cursor.execute(statement.text, {name: _bindable(value) for name, value in values.items()} or None)
        gatherer = RowGatherer(columns, most_rows=most_rows)
        while rows := list(islice(cursor, FETCHED_ROWS)):
            if not gatherer.take(rows):
                break
        return gatherer.result()
    finally:
        cursor.close(force=True)


def _bindable(value: Any) -> Any:
    """Arrays and objects go as JSON, for ``json_each``."""
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value

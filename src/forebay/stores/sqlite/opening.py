"""Opens a store: refuses what is not ours, migrates what is older, and starts the threads."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import apsw

from forebay.domain.errors import StoreRefused, StoreUnavailable
from forebay.domain.ids import IdSource
from forebay.policy.vigil import Vigil
from forebay.ports import Clock
from forebay.processes import IsGone, is_gone
from forebay.stores.sqlite.backend import Backend
from forebay.stores.sqlite.jobs import SqliteJobs
from forebay.stores.sqlite.limits import SqliteLimits
from forebay.stores.sqlite.records import SqliteRecords
from forebay.stores.sqlite.statements import migrations
from forebay.stores.sqlite.transaction import Session, Tx
from forebay.stores.sqlite.watch import Hub
from forebay.stores.sqlite.writer import Order, Writer

APPLICATION_ID = (
    0x466F7265  # "Fore": marks the file as ours. Source: https://sqlite.org/pragma.html#pragma_application_id
)
MEMORY = ":memory:"
READERS = 2
CHECKPOINT_PAGES = 4000  # 16 MB of log before it is copied into the file
OPENING_PAUSE_SECONDS = 0.02
STATEMENTS = 200  # kept prepared
_BLOB_STORE = "blob_store"


class SqliteStore:
    """The three ports on one file, and its closing."""

    def __init__(self, backend: Backend, is_gone: IsGone, vigil: Vigil | None = None) -> None:
        self.jobs = SqliteJobs(backend, is_gone, vigil=vigil)
        self.records = SqliteRecords(backend)
        self.limits = SqliteLimits(backend)
        self._backend = backend

    async def bind_blobs(self, store_id: str) -> None:
        """Keeps the blob store's id for ever. Raises: StoreRefused: another one is recorded."""
        recorded = await self._backend.write(Order.BARRIER, _bind, store_id)
        if recorded != store_id:
            raise StoreRefused(
                f"this store's blobs are kept in the blob store {recorded!r}, and `blobs:` names {store_id!r}: "
                "point `blobs:` at the place this store was first opened with"
            )

    async def close(self) -> None:
        """Commits what is queued and closes the file."""
        await self._backend.close()


async def open_store(
    path: Path | str,
    *,
    clock: Clock,
    ids: IdSource | None = None,
    is_gone: IsGone = is_gone,
    vigil: Vigil | None = None,
    busy_timeout_seconds: float = 10.0,
) -> SqliteStore:
    """Opens the store, made or migrated where need be; ``:memory:`` is one that nobody else sees.

    Raises: StoreRefused: the file is another program's, damaged, or of a newer Forebay. StoreUnavailable: another
    process holds it for longer than ``busy_timeout_seconds``.
    """
    opened = await asyncio.to_thread(_open_patiently, str(path), busy_timeout_seconds)
    hub = Hub(is_shared=bool(opened.readers))
    writer = Writer(opened.connection, clock, ids or IdSource(clock.now), hub.signal, hub.poll)
    hub.wake = writer.wake
    writer.start()
    return SqliteStore(Backend(writer, opened.readers, hub, clock), is_gone, vigil)


class _Opened(NamedTuple):
    connection: apsw.Connection
    readers: list[Session]


def _open_patiently(path: str, busy_timeout_seconds: float) -> "_Opened":
    """Several that make one file at once: SQLite refuses the change to its log without waiting for the others."""
    deadline = time.monotonic() + busy_timeout_seconds
    while True:
        try:
            return _open(path, busy_timeout_seconds)
        except StoreUnavailable as unavailable:
            if not isinstance(unavailable.__cause__, apsw.BusyError) or time.monotonic() >= deadline:
                raise
        time.sleep(OPENING_PAUSE_SECONDS)


def _open(path: str, busy_timeout_seconds: float) -> _Opened:
    try:
        connection = _connect(path, busy_timeout_seconds)
        _check(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")  # 1 us a job, and a fifth more bytes: prompts are personal
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        _migrate(connection, path)
        readers = [] if path == MEMORY else [_reader(path, busy_timeout_seconds) for _ in range(READERS)]
    except (apsw.NotADBError, apsw.CorruptError) as exc:
        raise StoreRefused(
            f"{path!r} is not a Forebay store, or it is damaged ({exc}); restore it or name another"
        ) from exc
    except apsw.CantOpenError as exc:
        raise StoreRefused(f"{path!r} can't be opened: does its folder exist, and may we write there?") from exc
    except apsw.ReadOnlyError as exc:
        raise StoreRefused(f"{path!r} can't be written: check the rights of the file and its folder") from exc
    except (apsw.BusyError, apsw.FullError, apsw.IOError) as exc:
        raise StoreUnavailable(f"{path!r} can't be opened now ({exc}); try again") from exc
    return _Opened(connection, readers)


def _connect(path: str, busy_timeout_seconds: float) -> apsw.Connection:
    connection = apsw.Connection(path, statementcachesize=STATEMENTS)
    connection.set_busy_timeout(int(busy_timeout_seconds * 1000))
    return connection


def _reader(path: str, busy_timeout_seconds: float) -> Session:
    connection = _connect(path, busy_timeout_seconds)
    connection.execute("PRAGMA query_only = ON")
    return Session(connection)


def _pragma(connection: apsw.Connection, name: str) -> int:
    return int(str(connection.execute(f"PRAGMA {name}").fetchall()[0][0]))


def _check(connection: apsw.Connection, path: str) -> None:
    """Refuses a foreign or a newer file before anything is written to it."""
    connection.execute("BEGIN")  # one snapshot: another process may be making the store at this moment
    mark, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    is_empty = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()[0][0]
    connection.execute("COMMIT")
    if mark != APPLICATION_ID and not (is_empty and mark == 0 and version == 0):
        raise StoreRefused(f"{path!r} is a database of another program; name another file as the store")
    newest = migrations()[-1][0]
    if version > newest:
        raise StoreRefused(
            f"{path!r} was written by a newer Forebay (layout {version}, this one knows {newest}); upgrade this program"
        )


def _migrate(connection: apsw.Connection, path: str, files: Sequence[tuple[int, str]] | None = None) -> None:
    """Applies the numbered files above the store's version, each in a transaction with its number, after a copy."""
    steps = migrations() if files is None else files
    version = _pragma(connection, "user_version")
    if 0 < version < steps[-1][0]:
        _copy(connection, f"{path}.v{version}.bak")
    for number, text in steps:
        if number <= version:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _pragma(connection, "user_version") < number:  # else another process was faster
                connection.execute(text)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _copy(connection: apsw.Connection, path: str) -> None:
    copy = apsw.Connection(path)
    try:
        with copy.backup("main", connection, "main") as backup:
            backup.step()
    finally:
        copy.close()


def _bind(tx: Tx, store_ids: Sequence[str]) -> Sequence[str]:
    for store_id in store_ids:
        tx.run("meta.put", _BLOB_STORE, store_id)
    return [tx.run("meta.get", _BLOB_STORE)[0][0]] * len(store_ids)

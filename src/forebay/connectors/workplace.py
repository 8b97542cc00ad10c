"""A workplace: one step's folder, its connections to DuckDB, and its way to blobs. It lives as long as the step's work.

The work runs in a thread, and may block. What it leaves of its folder when it is killed, the next workplace removes.
"""

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from forebay.connectors.digests import Digests
from forebay.connectors.drivers import connector
from forebay.connectors.duck import QUIET
from forebay.connectors.stopping import Stopped, Stopper
from forebay.domain.errors import NotFound
from forebay.ports import BlobInfo, BlobStore

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")
PREFIX = "forebay-step-"
PIECE_BYTES = 1024 * 1024
_LOCK = "lock"
_NEW_SECONDS = 60.0  # a folder without a lock is being made, unless it is older
_CONFIG = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "preserve_insertion_order": True,
    # DuckDB 2.0.0: `WHERE struct.field = … ORDER BY … LIMIT` over Parquet ends in an internal error with it
    "disabled_optimizers": "late_materialization",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What all workplaces of a process share. ``memory_bytes``: of DuckDB in each."""

    blobs: BlobStore
    memory_bytes: int
    digests: Digests = field(default_factory=Digests)


class Workplace:
    """Made in a thread by ``workplace``. ``folder`` is empty at first, and removed at the end."""

    def __init__(self, folder: Path, shop: Shop, stopper: Stopper, loop: asyncio.AbstractEventLoop) -> None:
        self.folder = folder
        self.stopper = stopper
        self.digests = shop.digests
        self._blobs = shop.blobs
        self._memory_bytes = shop.memory_bytes
        self._loop = loop
        self._names = 0

    @property
    def memory(self) -> str:
        """Of one database, as DuckDB takes it."""
        return f"{self._memory_bytes}B"

    def path(self, name: str) -> Path:
        """A new path in the folder."""
        self._names += 1
        return self.folder / f"{self._names}-{name}"

    @contextmanager
    def connection(self, *, threads: int = 1) -> "Iterator[DuckDBPyConnection]":
        """A database in memory that spills into the folder. One thread keeps the order of rows where nothing else does:
        of groups, joins and distinct rows.
        """
        config = {**_CONFIG, "memory_limit": self.memory, "temp_directory": str(self.folder / "spill")}
        duckdb = connector("duckdb library")
        with duckdb.connect(config={**config, "threads": threads}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(QUIET)
            with self.stopper.breaking(connection.interrupt):
                yield connection

    def local(self, blob_id: str) -> Path:
        """The blob as a file of this machine: its own, or a copy in the folder. Raises: NotFound, StoreUnavailable."""
        own = self._blobs.local_path(blob_id)
        if own is not None:
            if not own.exists():
                raise NotFound(f"There is no blob {blob_id!r}")
            return own
        copy = self.folder / blob_id
        if not copy.exists():
            draft = self.path("fetched")
            self.wait(self._fetch(blob_id, draft))
            draft.rename(copy)
        return copy

    def keep(self, path: Path) -> BlobInfo:
        """Stores a file of the folder as a blob, and removes it. Raises: StoreUnavailable."""
        info = self.wait(self._blobs.write(self._pieces(path)))
        path.unlink()
        return info

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop that the work was given from. Raises: Stopped."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            with self.stopper.breaking(lambda: _cancel(future)):
                return future.result()
        except (Stopped, CancelledError):
            future.cancel()
            raise Stopped from None

    async def _fetch(self, blob_id: str, path: Path) -> None:
        with await asyncio.to_thread(path.open, "wb") as file:
            async for piece in self._blobs.read(blob_id):
                await asyncio.to_thread(file.write, piece)

    async def _pieces(self, path: Path) -> AsyncIterator[bytes]:
        with await asyncio.to_thread(path.open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                yield piece


@contextmanager
def work_folder(parent: Path | None) -> Iterator[Path]:
    """A folder that is gone afterwards. First removes those of processes that were killed."""
    base = parent or Path(tempfile.gettempdir())
    base.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(base)
    folder, lock = _locked_folder(base)
    try:
        with lock:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(base: Path) -> tuple[Path, IO[bytes]]:
    """A new folder and its lock. Between the making of the two somebody may have taken it for one left behind."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        with suppress(FileNotFoundError):
            lock = (folder / _LOCK).open("wb")
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_at(lock, folder / _LOCK):
                return folder, lock
            lock.close()


def _remove_left_behind(base: Path) -> None:
    """A folder whose lock nobody holds is nobody's: the kernel frees a dead process's locks."""
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            try:
                lock: IO[bytes] = (folder / _LOCK).open("rb")
            except FileNotFoundError:
                if time.time() - folder.stat().st_mtime > _NEW_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(lock, folder / _LOCK):
                    shutil.rmtree(folder, ignore_errors=True)


def _is_at(file: IO[bytes], path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _cancel(future: Any) -> None:
    future.cancel()

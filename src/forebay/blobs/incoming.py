"""Incoming: one blob being written, in the file that becomes it by a rename.

Every method blocks: call it in a thread.
"""

import fcntl
import hashlib
import os
import threading
from pathlib import Path

FILE_MODE = 0o600


class Incoming:
    """A temporary file under a lock, which tells a write in progress (in any process) from an interrupted one."""

    def __init__(self, path: Path) -> None:
        self.bytes = 0
        self._path = path
        self._hash = hashlib.sha256()
        self._guard = threading.Lock()  # a cancelled task discards while its thread may still be writing
        self._file: int | None = None
        self._is_over = False

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Adds bytes; does nothing after ``discard``."""
        with self._guard:
            if self._is_over:
                return
            file = self._open()
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            self._hash.update(data)
            self.bytes += len(data)

    def keep(self, final: Path, written_at: float) -> None:
        """Makes the file durable under its final name; does nothing after ``discard``."""
        with self._guard:
            if self._is_over:
                return
            file = self._open()
            os.utime(file, (written_at, written_at))
            os.fsync(file)
            make_folder(final.parent)
            self._path.rename(final)
            sync_folder(final.parent)
            self._end()

    def discard(self) -> None:
        """Deletes what was written, unless it was kept. Idempotent."""
        with self._guard:
            if self._file is not None:
                self._path.unlink(missing_ok=True)
            self._end()

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        return self._file

    def _end(self) -> None:
        self._is_over = True
        if self._file is not None:
            os.close(self._file)
            self._file = None


def clean(folder: Path, written_before: float) -> None:
    """Deletes what interrupted writes left in the folder; what someone is still writing is locked, and stays."""
    for path in folder.iterdir():
        if not _is_old(path, written_before):
            continue
        try:
            file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # another process cleaned it, or its writer was done
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            continue
        finally:
            os.close(file)


def make_folder(folder: Path) -> None:
    """Makes one folder, durably."""
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_old(path: Path, written_before: float) -> bool:
    try:
        return path.stat().st_mtime < written_before
    except FileNotFoundError:
        return False

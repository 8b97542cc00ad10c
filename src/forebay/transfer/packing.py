"""Packing: the writing of an archive as one tar file or as a folder, entry by entry, so that only a piece is in memory.

Both have the same entries in the same order. An archive gets its name when it is whole and on the disk.
"""

import os
import shutil
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from forebay.blobs.incoming import sync_folder
from forebay.domain.errors import ConfigurationError

TAR = ".tar"
PARTIAL = ".partial"
FIRST, MANIFEST, MANIFEST_SUM = "forebay-archive.json", "manifest.json", "manifest.sha256"
FILE_MODE, FOLDER_MODE = 0o600, 0o700  # prompts and answers stand in it


class Packer(ABC):
    """Writes entries: ``begin``, its bytes by ``write``, and the next."""

    @abstractmethod
    def begin(self, name: str, size: int) -> None: ...

    @abstractmethod
    def write(self, data: bytes) -> None: ...

    @abstractmethod
    def close(self, *, is_whole: bool) -> None: ...

    def put(self, name: str, data: bytes) -> None:
        """One entry of known bytes."""
        self.begin(name, len(data))
        self.write(data)


@contextmanager
def packing(path: Path) -> Iterator[Packer]:
    """Writes an archive to ``path``, which must not exist: a tar file where it ends in ``.tar``, else a folder.

    Raises: ConfigurationError: it exists, or can't be written. Nothing is left behind if the block raises.
    """
    if path.exists():
        raise ConfigurationError(f"{str(path)!r} exists already: name a new file or folder")
    partial = path.with_name(path.name + PARTIAL)
    try:
        _remove(partial)
        packer: Packer = _Tar(partial) if path.suffix == TAR else _Folder(partial)
    except OSError as exc:
        raise ConfigurationError(f"{str(path)!r} can't be written: {exc.strerror}") from exc
    try:
        yield packer
        packer.close(is_whole=True)
        partial.rename(path)
        sync_folder(path.parent)
    except BaseException:
        packer.close(is_whole=False)
        _remove(partial)
        raise


class _Tar(Packer):
    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb")
        self._left = 0

    def begin(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, FILE_MODE
        self._pad()
        self._file.write(info.tobuf(tarfile.PAX_FORMAT))
        self._left = -size % tarfile.BLOCKSIZE

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def close(self, *, is_whole: bool) -> None:
        if is_whole:
            self._pad()
            self._file.write(bytes(2 * tarfile.BLOCKSIZE))
            _sync(self._file)
        self._file.close()

    def _pad(self) -> None:
        self._file.write(bytes(self._left))
        self._left = 0


class _Folder(Packer):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        path.mkdir(mode=FOLDER_MODE)

    def begin(self, name: str, size: int) -> None:
        self._end()
        path = self._path / name
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        self._file = path.open("xb")
        self._file.truncate(size)

    def write(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)

    def close(self, *, is_whole: bool) -> None:
        self._end(is_synced=is_whole)
        if is_whole:
            for folder, _, _ in os.walk(self._path):
                sync_folder(Path(folder))

    def _end(self, *, is_synced: bool = True) -> None:
        if self._file is not None:
            if is_synced:
                _sync(self._file)
            self._file.close()
            self._file = None


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _remove(partial: Path) -> None:
    """Removes what an interrupted export left; a folder only if it is one of ours."""
    if partial.is_dir():
        if (partial / FIRST).exists() or not any(partial.iterdir()):
            shutil.rmtree(partial)
    else:
        partial.unlink(missing_ok=True)

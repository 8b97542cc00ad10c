"""Unpacking: the reading of an archive, entry by entry in the order in which it was written; nothing is extracted."""

import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from forebay.domain.errors import ConfigurationError
from forebay.transfer.packing import FIRST, MANIFEST, MANIFEST_SUM

PIECE_BYTES = 512 * 1024
_FIRST_TO_LAST = (FIRST, "rows", "blobs", MANIFEST, MANIFEST_SUM)


class Entry(NamedTuple):
    """One entry, to be read before the next is asked for."""

    name: str
    size: int
    read: Callable[[int], bytes]

    def pieces(self) -> Iterator[bytes]:
        while piece := self.read(PIECE_BYTES):
            yield piece

    def whole(self) -> bytes:
        return b"".join(self.pieces())


def entries(path: Path) -> Iterator[Entry]:
    """Every entry. Raises: ConfigurationError: it is no archive, or a part of it is missing."""
    try:
        yield from _of_folder(path) if path.is_dir() else _of_tar(path)
    except tarfile.TarError as exc:
        raise broken(path, str(exc)) from exc
    except FileNotFoundError as exc:
        raise ConfigurationError(f"There is no {str(exc.filename or path)!r}") from exc


def broken(path: Path, reason: str) -> ConfigurationError:
    """What is said of an archive that can't be trusted."""
    return ConfigurationError(f"{str(path)!r} is no whole archive of Forebay ({reason}); nothing was imported")


def _of_tar(path: Path) -> Iterator[Entry]:
    with tarfile.open(path, "r:") as tar:
        while (info := tar.next()) is not None:
            file = tar.extractfile(info)
            if file is None:
                raise tarfile.TarError(f"{info.name!r} is no file")
            yield Entry(info.name, info.size, partial(_read, path, file))
            tar.members = []  # type: ignore[attr-defined] # it keeps every header, and there may be millions


def _read(path: Path, file: IO[bytes], size: int) -> bytes:
    try:
        return file.read(size)
    except tarfile.TarError as exc:  # the reader of an entry is told, not who goes from entry to entry
        raise broken(path, str(exc)) from exc


def _of_folder(path: Path) -> Iterator[Entry]:
    for name in _FIRST_TO_LAST:
        for file in _files(path / name):
            with file.open("rb") as opened:
                yield Entry(file.relative_to(path).as_posix(), file.stat().st_size, opened.read)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        if path.exists():
            yield path
        return
    for child in sorted(path.iterdir()):
        yield from _files(child)

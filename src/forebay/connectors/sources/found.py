"""A file that a step reads, at hand: its shown name, its bytes on this machine, its digest as it was read."""

import os
from dataclasses import dataclass
from pathlib import Path

from forebay.connectors.digests import hash_file
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import SOURCE_FAILED, InputFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``shown``: the path or address, as messages and records tell it; ``path``: a name in the workplace's folder, in
    which no character means more than itself; ``origin``: whose change meanwhile is a fault, None for a copy.
    """

    shown: str
    path: Path
    file: InputFile
    origin: Path | None = None
    stat: os.stat_result | None = None

    def check(self) -> None:
        """Raises: RequestError: the file is not the one any more that was hashed."""
        if self.origin is not None and self.stat is not None and not is_same(self.stat, _stat(self.origin, self.shown)):
            raise RequestError(f"{self.shown!r} changed while it was read: run it again", code=SOURCE_FAILED)


def open_local(path: Path, shown: str, place: Workplace) -> Found:
    """Hashes a file of this machine, which is read where it is. Raises: RequestError."""
    stat = _stat(path, shown)
    try:
        digest = hash_file(path, place.stopper)
    except OSError as exc:
        raise unreadable(shown, exc) from exc
    link = place.path("source")
    link.symlink_to(path.resolve())
    found = InputFile(path=shown, bytes=stat.st_size, digest=digest)
    return Found(shown=shown, path=link, file=found, origin=path, stat=stat)


def is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether nothing tells of a change between the two."""
    fields = ("st_dev", "st_ino", "st_size", "st_mtime_ns")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


def unreadable(shown: str, error: OSError) -> RequestError:
    """What an error of the system means for a source."""
    if isinstance(error, FileNotFoundError):
        return RequestError(f"{shown!r} does not exist", code=SOURCE_FAILED)
    return RequestError(f"{shown!r} can't be read: {error.strerror or error}", code=SOURCE_FAILED)


def _stat(path: Path, shown: str) -> os.stat_result:
    try:
        return path.stat()
    except OSError as exc:
        raise unreadable(shown, exc) from exc

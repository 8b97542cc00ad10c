"""A file that a step reads: named, and at hand with its bytes on this machine and its digest as it was read."""

import os
from dataclasses import dataclass
from pathlib import Path

from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import SOURCE_FAILED, InputFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """``shown``: the path or address, as messages and records tell it. ``path``: of a file of this machine, else
    ``address``. ``tag``: what its store says of its content. ``root``: its name below the folder that was named.
    ``blob_id``: of an uploaded file.
    """

    shown: str
    path: Path | None = None
    address: str = ""
    tag: str = ""
    root: str | None = None
    blob_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``path``: a name in the workplace's folder, in which no character means more than itself; ``origin``: whose
    change meanwhile is a fault, None for a copy; ``root``: see Named.
    """

    shown: str
    path: Path
    file: InputFile
    origin: Path | None = None
    stat: os.stat_result | None = None
    root: str | None = None

    def check(self) -> None:
        """Raises: RequestError: the file is not the one any more that was hashed."""
        if self.origin is not None and self.stat is not None and not is_same(self.stat, _stat(self.origin, self.shown)):
            raise RequestError(f"{self.shown!r} changed while it was read: run it again", code=SOURCE_FAILED)


def open_local(named: Named, path: Path, place: Workplace) -> Found:
    """Hashes a file of this machine, which is read where it is. Raises: RequestError."""
    stat = _stat(path, named.shown)
    try:
        digest = place.digests.of(path, place.stopper)
    except OSError as exc:
        raise unreadable(named.shown, exc) from exc
    link = place.path("source")
    link.symlink_to(path.resolve())
    file = InputFile(path=named.shown, bytes=stat.st_size, digest=digest)
    return Found(shown=named.shown, path=link, file=file, origin=path, stat=stat, root=named.root)


def copied(named: Named, path: Path, digest: str) -> Found:
    """A file that was copied into the workplace."""
    file = InputFile(path=named.shown, bytes=path.stat().st_size, digest=digest)
    return Found(shown=named.shown, path=path, file=file, root=named.root)


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

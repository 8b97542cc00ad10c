"""Zip archives: their files, one after the other, copied into the workplace."""

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Iterator

from forebay.connectors.sources.found import Found, Named, copied
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import SOURCE_FAILED

PIECE_BYTES = 1024 * 1024
MOST_FILES = 100_000
_SPARE_SHARE = 0.9  # of the free disk that an archive may fill


def is_archive(shown: str) -> bool:
    """Told from the name alone."""
    return shown.lower().endswith(".zip")


def unpacked(found: Found, place: Workplace) -> Iterator[Found]:
    """The archive's files in the order of their names; hidden ones are left out. Raises: RequestError."""
    try:
        with zipfile.ZipFile(found.path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir() and not _is_hidden(one.filename)]
            _check(members, found.shown, shutil.disk_usage(place.folder).free)
            for member in sorted(members, key=lambda one: one.filename):
                yield _unpacked(archive, member, found, place)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, EOFError) as exc:
        raise RequestError(f"{found.shown!r} can't be unpacked: {exc}", code=SOURCE_FAILED) from exc


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, found: Found, place: Workplace) -> Found:
    path, digest, left = place.path("unpacked"), hashlib.sha256(), member.file_size
    with archive.open(member) as source, path.open("wb") as target:
        while piece := source.read(PIECE_BYTES):
            place.stopper.check()
            left -= len(piece)
            if left < 0:
                raise zipfile.BadZipFile(f"{member.filename!r} is larger than it says")
            digest.update(piece)
            target.write(piece)
    named = Named(shown=f"{found.shown}/{member.filename}", root=member.filename)
    return copied(named, path, digest.hexdigest())


def _check(members: list[zipfile.ZipInfo], shown: str, free_bytes: int) -> None:
    if not members:
        raise RequestError(f"{shown!r} has no files", code=SOURCE_FAILED)
    if len(members) > MOST_FILES:
        raise RequestError(f"{shown!r} has more than {MOST_FILES} files", code=SOURCE_FAILED)
    size = sum(one.file_size for one in members)
    if size > free_bytes * _SPARE_SHARE:
        raise RequestError(f"{shown!r} unpacks to {size} bytes; the disk has {free_bytes}", code=SOURCE_FAILED)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))

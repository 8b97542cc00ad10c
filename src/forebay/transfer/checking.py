"""Whether an archive is whole: its form, its sizes, its hashes; before a store is touched."""

import hashlib
from pathlib import Path

import msgspec

from forebay.domain.archive import FORMAT, PARTS, BlobSum, Manifest, Part, PartSum
from forebay.domain.errors import ConfigurationError
from forebay.transfer.exporting import PROGRAM
from forebay.transfer.packing import FIRST, MANIFEST, MANIFEST_SUM
from forebay.transfer.sums import BlobCount, PartCount
from forebay.transfer.unpacking import Entry, broken, entries

ROWS, BLOBS = "rows", "blobs"
_PARTS = {part.name: part for part in PARTS}


class _Head(msgspec.Struct):
    program: str
    format: int
    version: str = ""


def check_archive(path: Path) -> Manifest:
    """Reads all of it once. Raises: ConfigurationError: it is not whole, or of a newer Forebay."""
    seen = _Seen(path)
    for entry in entries(path):
        seen.take(entry)
    manifest = seen.manifest()
    wrong = _difference(manifest, seen.parts(), seen.blobs.sum())
    if wrong:
        raise broken(path, wrong)
    return manifest


def part_of(entry: Entry) -> Part | None:
    """The part whose rows the entry holds; None: it holds others."""
    kind, _, rest = entry.name.partition("/")
    return _PARTS.get(rest.partition("/")[0]) if kind == ROWS else None


def blob_of(entry: Entry) -> str | None:
    """The id of the blob that the entry is."""
    kind, _, rest = entry.name.partition("/")
    return rest.partition("/")[2] or None if kind == BLOBS else None


class _Seen:
    """What was read so far."""

    def __init__(self, path: Path) -> None:
        self.blobs = BlobCount()
        self._path = path
        self._parts = {part.name: PartCount(part) for part in PARTS}
        self._head: _Head | None = None
        self._manifest = b""
        self._manifest_sha256 = ""

    def take(self, entry: Entry) -> None:
        if entry.name == FIRST:
            self._head = _read_head(self._path, entry.whole())
        elif self._head is None:
            raise broken(self._path, f"it does not begin with {FIRST}")
        elif entry.name == MANIFEST:
            self._manifest = entry.whole()
        elif entry.name == MANIFEST_SUM:
            self._manifest_sha256 = entry.whole().decode(errors="replace").partition(" ")[0]
        elif (part := part_of(entry)) is not None:
            lines = entry.whole()
            self._parts[part.name].add(lines.count(b"\n"), lines)
        elif (blob_id := blob_of(entry)) is not None:
            digest = hashlib.sha256()
            size = 0
            for piece in entry.pieces():
                digest.update(piece)
                size += len(piece)
            self.blobs.add(blob_id, size, digest.hexdigest())
        else:
            raise broken(self._path, f"we did not write {entry.name!r}")

    def parts(self) -> dict[str, PartSum]:
        return {name: count.sum() for name, count in self._parts.items()}

    def manifest(self) -> Manifest:
        if self._head is None:
            raise broken(self._path, "it is empty")
        if not self._manifest or hashlib.sha256(self._manifest).hexdigest() != self._manifest_sha256:
            raise broken(self._path, f"its end, {MANIFEST}, is missing or was changed")
        try:
            return msgspec.json.decode(self._manifest, type=Manifest)
        except msgspec.DecodeError as exc:
            raise broken(self._path, str(exc)) from exc


def _read_head(path: Path, text: bytes) -> _Head:
    try:
        head = msgspec.json.decode(text, type=_Head)
    except msgspec.DecodeError as exc:
        raise broken(path, str(exc)) from exc
    if head.program != PROGRAM:
        raise broken(path, f"it is {head.program!r}'s")
    if head.format > FORMAT:
        raise ConfigurationError(
            f"{str(path)!r} was written by a newer Forebay ({head.version}, archive format {head.format}; this one "
            f"knows {FORMAT}): upgrade this program"
        )
    return head


def _difference(manifest: Manifest, parts: dict[str, PartSum], blobs: BlobSum) -> str | None:
    for name, found in parts.items():
        said = manifest.parts.get(name)
        if said != found:
            return f"{name}: {found.rows} rows, not as its manifest says"
    if manifest.blobs != blobs:
        return f"{blobs.count} blobs of {blobs.bytes} bytes, not as its manifest says"
    return None

"""Power cuts: what a disk may hold after one, at any moment of a real process's life, from a journal of all it wrote.

What was synced is there. Of what was not, each sector of 512 bytes may be there, or as it was before, or zero; names
that were not made durable by a sync of their folder may be there or not, in the order in which they were made.
``compile_journal`` makes the library that keeps the journal; ``cuts`` reads it.
"""

import random
import shutil
import struct
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SECTOR_BYTES = 512
SOURCE = Path(__file__).with_name("power_journal.c")
_RECORD = struct.Struct("=QqIIc7x")


class Entry(NamedTuple):
    """One line of the journal: W write, T truncate, S sync, R rename and L link (``data``: the new name), U unlink."""

    at_ns: int
    kind: str
    path: str
    offset: int
    data: bytes


@dataclass(slots=True)
class _File:
    """``durable`` and what was done since, in order: writes, and truncations (no data)."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, data in self.pending:
            _apply(self.durable, offset, data)
        self.pending.clear()

    def torn(self, chance: random.Random) -> bytes:
        """The file as a cut may leave it."""
        content = bytearray(self.durable)
        whole = chance.randint(0, len(self.pending))  # the first so many came through, of the others some sectors
        is_ordered = chance.random() < 0.5
        for place, (offset, data) in enumerate(self.pending):
            if place < whole:
                _apply(content, offset, data)
            elif data is not None and not is_ordered:
                _tear(content, offset, data, chance)
        return bytes(content)


def compile_journal(folder: Path) -> Path:
    """Compiles the library for LD_PRELOAD. Raises: FileNotFoundError: there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    library = folder / "power_journal.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own source
    return library


def read_journal(path: Path) -> list[Entry]:
    """The whole journal; a line that was being written as its process was killed is left out."""
    content = path.read_bytes()
    entries: list[Entry] = []
    place = 0
    while place + _RECORD.size <= len(content):
        at_ns, offset, path_bytes, data_bytes, kind = _RECORD.unpack_from(content, place)
        start = place + _RECORD.size
        place = start + path_bytes + data_bytes
        name = content[start : start + path_bytes].decode()
        entries.append(Entry(at_ns, kind.decode(), name, offset, content[start + path_bytes : place]))
    return entries


class _Change(NamedTuple):
    """A name that came, went, or both: of one file."""

    file: _File
    gone: str | None
    made: str | None

    def apply(self, names: dict[str, _File]) -> None:
        if self.gone is not None:
            names.pop(self.gone, None)
        if self.made is not None:
            names[self.made] = self.file

    def is_in(self, folder: str) -> bool:
        """Whether a sync of the folder makes it durable."""
        return str(Path(self.made or self.gone or "").parent) == folder


class Disk:
    """A folder as its disk holds it; it is told the journal line by line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._names: dict[str, _File] = {}  # as the process sees them
        self._durable: dict[str, _File] = {}
        self._pending: list[_Change] = []

    def tell(self, entry: Entry) -> None:
        """Does what the line says."""
        path, file = entry.path, self._names.get(entry.path)
        if entry.kind == "S" and file is None:
            self._sync_folder(path)
        elif entry.kind == "S" and file is not None:
            file.sync()
        elif entry.kind in "RLU":
            made = None if entry.kind == "U" else entry.data.decode()
            self._rename(_Change(file or _File(), None if entry.kind == "L" else path, made))
        else:
            if file is None:
                file = _File()
                self._rename(_Change(file, None, path))
            file.pending.append((entry.offset, None if entry.kind == "T" else entry.data))

    def write_torn(self, to: Path, chance: random.Random) -> None:
        """Writes the folder as a cut at this moment may leave it."""
        names = dict(self._durable)
        for change in self._pending[: chance.randint(0, len(self._pending))]:
            change.apply(names)
        torn: dict[int, bytes] = {}
        for path, file in names.items():
            target = to / Path(path).relative_to(self._folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if id(file) not in torn:
                torn[id(file)] = file.torn(chance)
            target.write_bytes(torn[id(file)])

    def _rename(self, change: _Change) -> None:
        change.apply(self._names)
        self._pending.append(change)

    def _sync_folder(self, folder: str) -> None:
        for change in self._pending:
            if change.is_in(folder):
                change.apply(self._durable)
        self._pending = [change for change in self._pending if not change.is_in(folder)]


def cuts(journal: list[Entry], folder: Path, after: Collection[int]) -> Iterator[tuple[int, Disk]]:
    """The disk after each of the named lines, in order, with the line's number; to be written before the next."""
    disk = Disk(folder)
    for number, entry in enumerate(journal):
        disk.tell(entry)
        if number in after:
            yield number, disk


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        _resize(content, offset)
        return
    if len(content) < offset:
        _resize(content, offset)
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def _tear(content: bytearray, offset: int, data: bytes, chance: random.Random) -> None:
    for start in range(0, len(data), SECTOR_BYTES):
        piece = data[start : start + SECTOR_BYTES]
        fate = chance.random()
        if fate < 0.4:
            _apply(content, offset + start, piece)
        elif fate < 0.6 and len(content) < offset + start + len(piece):
            _apply(content, offset + start, bytes(len(piece)))

"""Counting and hashing of what goes through: of rows as lines of JSON, and of blobs."""

import hashlib
from collections.abc import AsyncIterator, Sequence

import msgspec

from forebay.domain.archive import BlobSum, Part, PartSum, Row

_encode = msgspec.json.Encoder().encode


def lines_of(rows: Sequence[Row]) -> bytes:
    """The rows as an archive has them: one JSON array a line, the columns in the part's order."""
    return b"".join([_encode(row) + b"\n" for row in rows])


class PartCount:
    """Sums up one part."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._rows = 0
        self._digest = hashlib.sha256()

    def add(self, rows: int, lines: bytes) -> None:
        self._rows += rows
        self._digest.update(lines)

    def sum(self) -> PartSum:
        return PartSum(columns=tuple(self._part.columns), rows=self._rows, sha256=self._digest.hexdigest())


class BlobCount:
    """Sums up the blobs."""

    def __init__(self) -> None:
        self._count = 0
        self._bytes = 0
        self._digest = hashlib.sha256()

    def add(self, blob_id: str, size: int, sha256: str) -> None:
        self._count += 1
        self._bytes += size
        self._digest.update(f"{blob_id} {size} {sha256}\n".encode())

    def sum(self) -> BlobSum:
        return BlobSum(count=self._count, bytes=self._bytes, sha256=self._digest.hexdigest())


async def digest_of(pieces: AsyncIterator[bytes]) -> tuple[int, str]:
    """The length and the SHA-256 of what the pieces are together."""
    digest = hashlib.sha256()
    size = 0
    async for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()

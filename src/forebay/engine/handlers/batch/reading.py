"""Reading an input file: pieces of whole lines, so that memory follows the longest line and not the file."""

from collections.abc import AsyncIterator

from forebay.domain.record import Record
from forebay.policy.batch_input import split_lines
from forebay.ports import BlobStore

LONGEST_LINE_BYTES = 64 * 1024 * 1024


class LineTooLong(Exception):
    """A line exceeds what we hold in memory."""


class InputLine(Record, frozen=True, kw_only=True):
    """One line, '' if it is blank; ``number`` counts from 1, ``end`` is the offset behind it and its newline."""

    number: int
    raw: bytes
    end: int


async def pieces_of(blobs: BlobStore, blob_id: str, start: int = 0) -> AsyncIterator[bytes]:
    """Yields whole lines with their newlines, many at a time; the file's last line may have none.

    Raises: NotFound; LineTooLong.
    """
    held: list[bytes] = []
    held_bytes = 0
    async for chunk in blobs.read(blob_id, start):
        cut = chunk.rfind(b"\n") + 1
        if cut:
            held.append(chunk[:cut])
            yield b"".join(held)
            held, held_bytes = [], 0
        if cut < len(chunk):
            held.append(chunk[cut:])
            held_bytes += len(chunk) - cut
            if held_bytes > LONGEST_LINE_BYTES:
                raise LineTooLong
    if held:
        yield b"".join(held)


async def lines_of(blobs: BlobStore, blob_id: str, *, start: int = 0, line: int = 0) -> AsyncIterator[list[InputLine]]:
    """Yields the lines from byte ``start``, before which there are ``line`` lines."""
    offset, number = start, line
    async for piece in pieces_of(blobs, blob_id, start):
        last = offset + len(piece)
        lines: list[InputLine] = []
        for raw in split_lines(piece):
            number += 1
            offset = min(offset + len(raw) + 1, last)  # the file's last line may have no newline
            lines.append(InputLine(number=number, raw=raw.strip(), end=offset))
        yield lines

"""Cutting a streamed request into lines, none of them held beyond its bound."""

from collections.abc import AsyncIterator


async def lines_of(pieces: AsyncIterator[bytes], longest_bytes: int) -> AsyncIterator[bytes | None]:
    """Yields the lines that are not blank, without their ends; None for one that is too long."""
    rest = bytearray()
    is_skipping = False
    async for piece in pieces:
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            rest += piece[start:end]
            start = end + 1
            if is_skipping or len(rest) > longest_bytes:
                yield None
            elif line := bytes(rest).strip():
                yield line
            rest.clear()
            is_skipping = False
        if not is_skipping:
            rest += piece[start:]
            if len(rest) > longest_bytes:
                rest.clear()
                is_skipping = True
    if is_skipping:
        yield None
    elif line := bytes(rest).strip():
        yield line

"""Small chunks are gathered: whatever takes them in costs a hop for each piece."""

from collections.abc import AsyncIterator

PIECE_BYTES = 1024 * 1024


async def gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of at least ``PIECE_BYTES``, but for the last."""
    held: list[bytes] = []
    held_bytes = 0
    async for chunk in chunks:
        held.append(chunk)
        held_bytes += len(chunk)
        if held_bytes >= PIECE_BYTES:
            yield b"".join(held)
            held, held_bytes = [], 0
    if held:
        yield b"".join(held)

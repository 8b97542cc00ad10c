"""A batch's body on its way to the disk."""

import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from starlette.requests import Request

from forebay.api.message_batches.input import BatchInput
from forebay.blobs.files import open_blobs
from forebay.domain.ids import IdSource
from forebay.engine.services import Bounds
from forebay.testing.clock import FakeClock

REQUESTS, WORDS = 4_000, 800
PIECE_BYTES = 64 * 1024


class Coming:
    """A request whose body is made as it is read."""

    def __init__(self) -> None:
        self.size = 0

    async def stream(self) -> AsyncIterator[bytes]:
        held = b'{"requests": ['
        for number in range(REQUESTS):
            messages = [{"role": "user", "content": "lorem\n" * WORDS}]
            params: dict[str, Any] = {"model": "m", "max_tokens": 1, "messages": messages}
            held += b"," * bool(number) + json.dumps({"custom_id": f"n{number}", "params": params}).encode()
            while len(held) >= PIECE_BYTES:
                self.size += PIECE_BYTES
                yield held[:PIECE_BYTES]
                held = held[PIECE_BYTES:]
        self.size += len(held) + 2
        yield held + b"]}"


async def test_a_body_never_stands_in_memory(tmp_path: Path) -> None:
    clock = FakeClock()
    blobs = await open_blobs(tmp_path, clock=clock, ids=IdSource(clock.now))
    given, coming = BatchInput(Bounds()), Coming()
    tracemalloc.start()
    try:
        info = await given.write(cast("Request", coming), blobs)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert given.count == REQUESTS
    assert coming.size > 20_000_000
    assert info.bytes > coming.size
    assert peak_bytes < 4_000_000

"""Answers without measure leave nothing behind in the process that asked for them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from forebay.targets.clients import HttpLibrary
from forebay.testing.faulty_server import Behaviour, FaultyServer
from forebay.testing.wire_faults import JSON, bombs, chunk, drips, echoes, floods, head, resets, sends

ROOT = Path(__file__).parents[3]
CHUNKED = head(200, [*JSON, "transfer-encoding: chunked"])
BOUND_MB = 64  # what one answer may take
BOMB_BYTES = 256 * 1024 * 1024
ROUNDS = 4  # of large answers
GROWTH_MB = 48  # of what is kept afterwards: allocators and pools, which do not grow with the number of calls
COPIES = 3  # of an answer at its bound: its pieces, their sum, and what came with the last piece


class Told(NamedTuple):
    """What the child tells after a round of calls."""

    outcomes: dict[str, int]
    now: float
    peak: float


class Child:
    """The process whose memory is measured."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def calls(self, count: int, timeout_seconds: float = 60.0) -> Told:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count} {timeout_seconds}\n".encode())
        return Told(**json.loads(await self._process.stdout.readline()))


@asynccontextmanager
async def child(origin: str, library: HttpLibrary) -> AsyncIterator[Child]:
    arguments = ("-m", "tests.integration.engine.memory_child", origin, library.value)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT, stdin=pipe, stdout=pipe)
    try:
        yield Child(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read in /proc")
@pytest.mark.parametrize("library", HttpLibrary)
async def test_answers_without_measure_leave_no_memory_behind(library: HttpLibrary) -> None:
    async with FaultyServer(echoes()) as server, child(server.origin, library) as asking:
        assert (await asking.calls(1000)).outcomes == {"answered": 1000}
        before = (await asking.calls(1000)).now

        async def round_of(count: int, fault: Behaviour, outcome: str, timeout_seconds: float = 60.0) -> Told:
            server.misbehave(*[fault] * count)
            told = await asking.calls(count, timeout_seconds)
            assert told.outcomes == {outcome: count}
            return told

        await round_of(1000, sends(head(200, [*JSON, "content-length: 99999"]) + b"{" * 9000), "TargetFailed")
        await round_of(300, resets(CHUNKED + chunk(b"{" * 9000)), "TargetFailed")
        await round_of(200, drips(CHUNKED, chunk(b" " * 1000)), "TargetTimeout", 1.0)
        after_many = await round_of(200, drips(b"HTTP/1.1 200 OK\r\n", b"x-more: 1\r\n"), "TargetTimeout", 1.0)
        assert after_many.now - before < GROWTH_MB
        bomb = bombs(BOMB_BYTES)
        kept: list[float] = []
        for _ in range(ROUNDS):
            await round_of(1, floods(CHUNKED, 104_857_600, chunk(b" " * 65_536)), "TargetFailed")
            last = await round_of(1, bomb, "TargetFailed")
            kept.append((await asking.calls(100)).now)
        assert last.peak - before < COPIES * BOUND_MB
        assert kept[-1] - kept[0] < (ROUNDS - 1) * BOUND_MB, "an allocator may keep the room of one, and not of each"

"""One batch on a server and a worker of their own: what it costs, what it holds, and what others see meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from forebay import AsyncClient
from forebay.bench.place import MICROSECONDS, PADDING, Place, configure, server, worker
from forebay.bench.pool import TASKS
from forebay.bench.usage import Watcher, cpu_seconds
from forebay.client.views import BatchView
from forebay.domain.record import Record

LINE = b'{"custom_id":"line-%d","method":"POST","url":"/v1/chat/completions","body":%s}\n'
BODY = b'{"model":"mock","messages":[{"role":"user","content":"%s %d"}]}'
LINES_A_WRITE = 10_000
LOOK_SECONDS = 0.02  # at a batch that is being validated
WARMING = 4_000  # lines before what is measured: they open the connections
READ_SECONDS = 1.0  # between two readings of what is there of the output
VALIDATING = "validating"


class BatchRun(Record, frozen=True, kw_only=True):
    """What one batch showed. CPU is that of server and worker together."""

    lines: int
    upload_seconds: float
    accept_seconds: float  # from the request until the batch is in progress
    seconds: float  # until its end
    cpu_us_a_line: float
    greatest_mb: float
    greatest_files_mb: float  # database and log
    read_while_running: int  # output lines that were read before the end
    longest_wait_seconds: float  # of a small job submitted meanwhile
    overtaken_lines: int  # of the batch, that ended while such a job waited: the most

    @property
    def lines_per_second(self) -> float:
        return self.lines / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server and a worker on one store."""

    client: AsyncClient
    pids: tuple[int, ...]
    folder: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.folder / name for name in ("bench.db", "bench.db-wal", "bench.db-shm"))


@asynccontextmanager
async def site(place: Place, name: str) -> AsyncIterator[Site]:
    """Starts mock, server and worker, and opens the worker's connections by a first batch."""
    folder = place.new_folder(name)
    async with place.mock() as mock:
        file = configure(folder, mock.address, TASKS)
        async with (
            server(file, "--no-worker") as serving,
            worker(file) as working,
            AsyncClient(serving.address) as client,
        ):
            ready = Site(client=client, pids=(serving.pid, working.pid), folder=folder)
            await run_batch(ready, min(place.sizes.lines[0], WARMING))
            yield ready


async def run_batch(at: Site, lines: int) -> BatchRun:
    """Uploads a file of so many lines, runs it as a batch and reads its output as it grows.

    Raises: RuntimeError: a line was lost, or stood twice.
    """
    path = at.folder / "input.jsonl"
    await asyncio.to_thread(write_input, path, lines)
    cpu = cpu_seconds(at.pids)
    async with Watcher(at.pids, at.files) as watcher:
        began = time.perf_counter()
        uploaded = await at.client.files.create(path)
        created = time.perf_counter()
        batch = await at.client.batches.create(input_file_id=uploaded.id)
        while (batch := await at.client.batches.get(batch.id)).status == VALIDATING:
            await asyncio.sleep(LOOK_SECONDS)
        accepted = time.perf_counter()
        beside = _Beside(at.client, batch)
        await beside.watch(lines)
        ended = time.perf_counter()
        await beside.finish(lines)
    path.unlink()
    return BatchRun(
        lines=lines,
        upload_seconds=created - began,
        accept_seconds=accepted - created,
        seconds=ended - created,
        cpu_us_a_line=(cpu_seconds(at.pids) - cpu) / lines * MICROSECONDS,
        greatest_mb=watcher.greatest_mb,
        greatest_files_mb=watcher.greatest_files_mb,
        read_while_running=beside.read_while_running,
        longest_wait_seconds=beside.longest_wait_seconds,
        overtaken_lines=beside.overtaken_lines,
    )


def write_input(path: Path, lines: int) -> None:
    """Writes an input file, about 1 KB a line."""
    with path.open("wb") as file:
        for start in range(0, lines, LINES_A_WRITE):
            numbers = range(start, min(start + LINES_A_WRITE, lines))
            file.write(b"".join([LINE % (number, BODY % (PADDING, number)) for number in numbers]))


@dataclass(slots=True)
class _Beside:
    """Looks at a running batch as its owner does, and lets a stranger's small job run beside it."""

    client: AsyncClient
    batch: BatchView
    read: int = 0
    read_while_running: int = 0
    longest_wait_seconds: float = 0.0
    overtaken_lines: int = 0
    _numbers: set[int] = field(default_factory=set, init=False)  # hashes of the lines read: none stands twice

    async def watch(self, lines: int) -> None:
        """Until the batch has ended."""
        while not self.batch.is_terminal:
            started = time.perf_counter()
            await self._read_on()
            await self._submit_small()
            await asyncio.sleep(max(0.0, min(READ_SECONDS, lines / 50_000) - (time.perf_counter() - started)))
            self.batch = await self.client.batches.get(self.batch.id)
            if not self.batch.is_terminal:
                self.read_while_running = self.read

    async def finish(self, lines: int) -> None:
        """Reads the rest, and compares. Raises: RuntimeError."""
        await self._read_on()
        counts = self.batch.request_counts
        completed = counts.completed if counts else 0
        if self.batch.status != "completed" or completed != lines or len(self._numbers) != lines:
            told = f"{self.batch.status}, {completed} of {lines} lines completed, {self.read} read"
            raise RuntimeError(f"the batch of the bench is not whole: {told}, {len(self._numbers)} different")

    async def _read_on(self) -> None:
        file_id = self.batch.output_file_id
        if file_id is None:
            return
        rest = b""
        async for chunk in self.client.files.content(file_id, offset=self.read):
            *whole, rest = (rest + chunk).split(b"\n")
            self.read += len(whole)
            self._numbers.update(_custom_id_hash(line) for line in whole)

    async def _submit_small(self) -> None:
        before, sent = await self._completed(), time.perf_counter()
        body = {"model": "mock", "messages": [{"role": "user", "content": "a small job"}]}
        job = await self.client.jobs.submit(model="mock", body=body)
        await self.client.jobs.wait(job.id)
        self.longest_wait_seconds = max(self.longest_wait_seconds, time.perf_counter() - sent)
        self.overtaken_lines = max(self.overtaken_lines, await self._completed() - before)

    async def _completed(self) -> int:
        counts = (await self.client.batches.get(self.batch.id)).request_counts
        return counts.completed if counts else 0


def _custom_id_hash(line: bytes) -> int:
    start = line.index(b'"custom_id":"') + 13
    return int(line[line.index(b"-", start) + 1 : line.index(b'"', start)])

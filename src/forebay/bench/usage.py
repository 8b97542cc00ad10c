"""CPU and memory of other processes and of this one's threads, from /proc. Elsewhere than on Linux: nothing."""

import asyncio
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

PROC = Path("/proc")
LOOK_SECONDS = 0.25
BYTES_A_MEGABYTE = 1e6
NANOSECONDS = 1e9
BYTES_A_KILOBYTE = 1024  # as the kernel says kB
_FIELDS_BEFORE_UTIME = 11  # after the name


def can_look() -> bool:
    """True where there is a /proc to read."""
    return (PROC / "self" / "schedstat").exists()


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU of whole processes until now: user and system."""
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(_ticks(PROC / str(pid) / "stat") for pid in pids) / ticks


def memory_mb(pids: Iterable[int]) -> float:
    """What the processes hold together: pages that several share count once (PSS)."""
    return sum(_pss_bytes(pid) for pid in pids) / BYTES_A_MEGABYTE


def thread_seconds() -> dict[str, float]:
    """CPU of this process's threads until now, by name; equal names are summed. Native threads stand as ``other``."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: dict[str, float] = {}
    for task in (PROC / "self" / "task").iterdir():
        try:
            nanoseconds = int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue  # it has ended
        name = names.get(int(task.name), "other")
        found[name] = found.get(name, 0.0) + nanoseconds / NANOSECONDS
    return found


def family_seconds(pid: int) -> dict[int, float]:
    """CPU of a process's children until now, by pid: of a PostgreSQL, all that works in it."""
    found: dict[int, float] = {}
    for child in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split():
        try:
            nanoseconds = int((PROC / child / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(child)] = nanoseconds / NANOSECONDS
    return found


@dataclass(slots=True)
class Watcher:
    """``async with`` looks at processes' memory, and at the size of files, while the block runs."""

    pids: tuple[int, ...]
    files: tuple[Path, ...] = ()
    greatest_mb: float = 0.0
    greatest_files_mb: float = 0.0
    _task: "asyncio.Task[None] | None" = field(default=None, init=False)

    async def __aenter__(self) -> "Watcher":
        self._task = asyncio.create_task(self._look_for_ever(), name="watcher")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if error is None:
            self.look()

    def look(self) -> None:
        """Looks once."""
        self.greatest_mb = max(self.greatest_mb, memory_mb(self.pids))
        size = sum(path.stat().st_size for path in self.files if path.exists())
        self.greatest_files_mb = max(self.greatest_files_mb, size / BYTES_A_MEGABYTE)

    async def _look_for_ever(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)


def _ticks(stat: Path) -> int:
    fields = stat.read_text().rpartition(")")[2].split()
    return int(fields[_FIELDS_BEFORE_UTIME]) + int(fields[_FIELDS_BEFORE_UTIME + 1])


def _pss_bytes(pid: int) -> int:
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * BYTES_A_KILOBYTE
    return 0

"""What the long-running commands share: uvloop, signals that ask for a stop, a store that may come later, a heap that
the collector spares.
"""

import asyncio
import ctypes
import gc
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar

import uvloop

from forebay.app import System, open_system
from forebay.cli.failures import INTERRUPTED, say
from forebay.domain.errors import StoreUnavailable
from forebay.domain.target import TargetType
from forebay.models import problem_of
from forebay.settings import Settings

if sys.platform != "win32":
    import resource

T = TypeVar("T")
STOPPING = "Stopping: calls under way finish first (Ctrl-C again: at once)"
STORE_PAUSES_SECONDS = (0.5, 1.0, 2.0, 5.0)  # between tries to reach a database that is not there yet
STORE_TOLD_SECONDS = 30.0  # between two sentences about it
GC_THRESHOLD = 50_000  # allocations between collections of young objects; the default of 700 costs a busy loop 5 %
#: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX: 18 MB of 233 with a batch of 300,000 lines. Source: mallopt(3)
GLIBC_HEAP = {-1: 128 * 1024, -3: 128 * 1024, -8: 2}
MOST_FILES = 65_536  # open at once
SWITCH_SECONDS = 0.0001  # a busy loop keeps the store's thread waiting so long at each statement; the default is 5 ms


def run_on_uvloop(main: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine."""
    _give_memory_back()
    allow_many_files()
    try:
        return uvloop.run(main)
    finally:
        gc.unfreeze()  # libraries that look for leaks at exit would report what was spared


def _give_memory_back() -> None:
    """Has glibc return large pieces as they are freed; other C libraries have no such switch. Before threads start:
    each has a heap of its own otherwise, which keeps what it once held.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in GLIBC_HEAP.items():
            mallopt(parameter, value)


def allow_many_files() -> None:
    """Raises this process's own bound on open files to what the system lets it: 1,024, as it often is, are fewer than
    the sockets of one busy server.
    """
    if sys.platform != "win32":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with suppress(ValueError, OSError):  # macOS has bounds of its own, and says so only then
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def spare_the_heap() -> None:
    """Takes what was made at start out of the collector's sight, and lets threads take turns more often. Call once,
    when everything is ready.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    sys.setswitchinterval(SWITCH_SECONDS)


class StopSignals:
    """``async with``: SIGTERM and SIGINT set ``asked`` instead of breaking off. ``interrupted`` tells Ctrl-C.

    A second Ctrl-C ends the process at once, after ``on_second``: the store is made for that.
    """

    def __init__(self, on_interrupt: Callable[[], None] | None = None) -> None:
        self.asked = asyncio.Event()
        self.interrupted = False
        self.on_second: Callable[[], None] = lambda: None
        self._on_interrupt = on_interrupt

    async def __aenter__(self) -> "StopSignals":
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.asked.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        return self

    async def __aexit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)

    def _interrupt(self) -> None:
        if self.interrupted:
            self.on_second()
            os._exit(INTERRUPTED)
        self.interrupted = True
        self.asked.set()
        if self._on_interrupt is not None:
            self._on_interrupt()


@asynccontextmanager
async def opened_system(settings: Settings, asked: asyncio.Event) -> AsyncIterator[System | None]:
    """Opens the system; a database that is away is waited for, and a sentence says so now and then. None: a stop was
    asked for before it came.

    Raises: ConfigurationError: waiting would not help; StoreUnavailable: of a file.
    """
    for spec in settings.targets:
        if spec.type is TargetType.LOCAL and spec.model and (problem := problem_of(spec.model)):
            say(f"target {spec.name!r} is not ready, its jobs wait: {problem}")
    async with AsyncExitStack() as stack:
        yield await _entered(stack, settings, asked)


async def _entered(stack: AsyncExitStack, settings: Settings, asked: asyncio.Event) -> System | None:
    told_at: float | None = None
    for turn in itertools.count():
        try:
            return await stack.enter_async_context(open_system(settings))
        except StoreUnavailable as away:
            if settings.store.path is not None:
                raise
            if told_at is None or time.monotonic() - told_at > STORE_TOLD_SECONDS:
                told_at = time.monotonic()
                say(f"{away}; waiting for it")
        with suppress(TimeoutError):
            pause = STORE_PAUSES_SECONDS[min(turn, len(STORE_PAUSES_SECONDS) - 1)]
            await asyncio.wait_for(asked.wait(), pause)
        if asked.is_set():
            return None
    return None

"""Stopping of work in a thread: whoever waits for it asks, and what it is doing at that moment is broken off."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(Exception):
    """The work was asked to stop: nobody waits for its result."""


class Stopper:
    """``stop`` may be called from any thread, and again: what began in between is broken off by the next call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._breaks: list[Callable[[], None]] = []
        self._is_stopped = False

    def stop(self) -> None:
        """Breaks off what is under way; all that comes after raises Stopped."""
        with self._lock:
            self._is_stopped = True
            breaks = list(self._breaks)
        for break_off in breaks:
            break_off()

    def check(self) -> None:
        """Raises: Stopped."""
        if self._is_stopped:
            raise Stopped

    @contextmanager
    def breaking(self, break_off: Callable[[], None]) -> Iterator[None]:
        """While the block runs, ``stop`` calls ``break_off``, which must be harmless at any moment."""
        self.check()
        with self._lock:
            self._breaks.append(break_off)
        try:
            yield
        finally:
            with self._lock:
                self._breaks.remove(break_off)

"""How a run tells of itself while it works: numbers in one record, shown by whoever listens."""

import time
from collections import deque
from typing import Protocol

from forebay.domain.attempt import Usage
from forebay.domain.record import Record

WINDOW_SECONDS = 20.0


class Standing(Record, frozen=True, kw_only=True):
    """How the run stands. ``rate`` is records a second of late, ``remaining_seconds`` None while nobody can know."""

    total: int
    succeeded: int = 0
    failed: int = 0
    reused: int = 0
    usage: Usage | None = None
    cost_usd: float | None = None
    rate: float | None = None
    remaining_seconds: float | None = None

    @property
    def done(self) -> int:
        return self.succeeded + self.failed


class Reporter(Protocol):
    """Shows a run's progress."""

    def begin(self, standing: Standing) -> None: ...

    def update(self, standing: Standing) -> None: ...

    def say(self, sentence: str) -> None:
        """Tells what a person should know at once."""
        ...

    def end(self) -> None: ...


class Silence:
    """A Reporter that shows nothing: for calls from Python, and tests."""

    def begin(self, standing: Standing) -> None:
        pass

    def update(self, standing: Standing) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass

    def end(self) -> None:
        pass


class Pace:
    """Measures the rate over the last 20 seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def rate(self, done: int) -> float | None:
        """Notes how many are done now. Returns records a second; None before anything moved."""
        now = time.monotonic()
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] < now - WINDOW_SECONDS:
            self._samples.popleft()
        since, before = self._samples[0]
        if now - since <= 0 or done == before:
            return None
        return (done - before) / (now - since)

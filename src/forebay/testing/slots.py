"""Slots of chaos: each keeps one process of ``forebay`` there, however often it dies, and says how it ended."""

import random
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forebay.testing.crashing import POINTS, Backing
from forebay.testing.processes import AT_ONCE, Running, start

CRASHING = "forebay.testing.crashing"
KILLED = -signal.SIGKILL
HITS = (1, 1, 2, 3, 10)
LINES_SHOWN = 5
POISONED = "died again and again while it ran this job"  # and so the command that waits for it ends with 1
MOST_BROKEN = 20  # ends that nobody caused, in all slots together
OF_RUNS = ("run.", "partial.", "output.")  # points that only `forebay run` passes
OF_SERVERS = ("add.", "cancel.", "retry.", "append.", "record.")  # that the API passes
OF_ALL = ("transaction.", "store.", "blob.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What stands in a slot, and which ends of it are no fault when nobody killed it."""

    name: str
    arguments: tuple[str, ...]
    ends: frozenset[int] = frozenset({0})  # after a signal that asks for an end
    backing: Backing = Backing.SQLITE
    environment: Mapping[str, Any] = field(default_factory=dict)  # beside ours

    def points(self) -> list[str]:
        """The points that it is likely to pass."""
        if self.name == "server":
            return [name for name in POINTS if name.startswith((*OF_SERVERS, *OF_ALL))]
        theirs = [name for name in POINTS if not name.startswith((*OF_SERVERS, *OF_RUNS)) or name.startswith(OF_ALL)]
        return [*theirs, *(name for name in POINTS if self.name == "run" and name.startswith(OF_RUNS))]


class Slot:
    """One place for a process. ``kills`` and ``broken`` are the caller's, and common to all slots."""

    def __init__(self, kind: Kind, folder: Path, chance: random.Random, kills: Counter[str], broken: list[str]) -> None:
        self.kind = kind
        self.running: Running | None = None
        self.armed_share = 0.5
        self.endings: list[int] = []
        self._folder = folder
        self._chance = chance
        self._kills = kills
        self._broken = broken
        self._asked: set[signal.Signals] = set()  # what the process was sent; it may die of any of them
        self._is_over = False

    async def keep(self, goes_on: Callable[[int], bool] = lambda _: True) -> None:
        """Starts the process, and again whenever it ended, until ``end`` or until ``goes_on`` says no to its code."""
        while not self._is_over:
            point = self._chance.choice(self.kind.points()) if self._chance.random() < self.armed_share else None
            self._asked = set()
            self.running = await self._start(point)
            code = await self.running.process.wait()
            self.endings.append(code)
            if code == KILLED and signal.SIGKILL not in self._asked and point is not None:
                self._kills[f"{self.kind.name} at {point}"] += 1
            elif not self._is_expected(code):
                said = " | ".join((await self.running.said())[-LINES_SHOWN:])
                self._blame(code, said)
            if not goes_on(code):
                return

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to what stands there."""
        running = self.running
        if running is None or not running.is_alive:
            return
        if number not in {signal.SIGSTOP, signal.SIGCONT}:
            self._asked.add(number)
        if number is not signal.SIGCONT:
            self._kills[f"{self.kind.name} by {number.name}"] += 1
        running.send(number)

    def end(self) -> None:
        """Starts it no more; what stands there is asked to end."""
        self._is_over = True
        self.armed_share = 0.0
        if self.running is not None:
            self._asked.add(signal.SIGTERM)
            self.running.send(signal.SIGCONT)
            self.running.send(signal.SIGTERM)

    async def kill(self) -> None:
        """Makes sure that nothing is left."""
        self._is_over = True
        if self.running is not None:
            self._asked.add(signal.SIGKILL)
            await self.running.kill()

    def _blame(self, code: int, said: str) -> None:
        if POISONED in said:  # the checker looks whether the batch really was
            self._kills[f"{self.kind.name} poisoned"] += 1
            return
        self._broken.append(f"{self.kind.name} ended with {code} after {self._asked}: {said}")
        if len(self._broken) > MOST_BROKEN:
            raise RuntimeError(f"there is no point in going on: {self._broken[-1]}")

    def _is_expected(self, code: int) -> bool:
        expected: set[int] = {-number for number in self._asked}  # before its handlers stand, a signal ends it
        if self._asked & {signal.SIGTERM, signal.SIGINT}:
            expected |= {*self.kind.ends, 130}
        elif self.kind.name == "run":
            expected.add(0)
        return code in expected

    async def _start(self, point: str | None) -> Running:
        if point is None:
            return await start(*self.kind.arguments, folder=self._folder, ready=AT_ONCE, **self.kind.environment)
        hit = self._chance.choice(HITS)
        arming = ("--at", point, "--hit", str(hit), "--store", self.kind.backing, "--", *self.kind.arguments)
        return await start(*arming, folder=self._folder, ready=AT_ONCE, module=CRASHING, **self.kind.environment)

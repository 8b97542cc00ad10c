"""Targets that answer by chance and keep books: which process sent what, and what it was told."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from forebay.domain.errors import (
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.inference import Call, InferenceResult
from forebay.ports import StreamSink
from forebay.testing.calls import Calls
from forebay.testing.mock_model.counters import UNDER_WAY
from forebay.testing.simulation.processes import Process, current
from forebay.testing.targets import answer

POISON = b"poison"
FAULTS = ("throttled", "throttled_for", "busy", "refused", "late", "reset", "broken", "garbled", "no", "slow", "never")
WEIGHTS = (4, 3, 3, 3, 3, 2, 2, 2, 2, 2, 1)

Saw = Callable[[str, Call, Process], None]


class Books:
    """What all targets saw. ``under_way``: calls by process, now."""

    def __init__(self) -> None:
        self.by_call: dict[str, str] = {}
        self.repeated: Counter[str] = Counter()
        self.under_way: dict[Process, dict[str, str]] = {}
        self.total = 0

    def begin(self, call: Call, process: Process) -> str:
        name = f"{call.job_id} {call.attempt}"
        self.total += 1
        if name in self.by_call:
            self.repeated[name] += 1
        self.by_call[name] = UNDER_WAY
        self.under_way.setdefault(process, {})[name] = call.job_id
        return name

    def end(self, name: str, word: str, process: Process) -> None:
        self.by_call[name] = word
        self.under_way[process].pop(name, None)

    def calls(self) -> Calls:
        return Calls(self.total, self.by_call, self.repeated)


class SimulatedTarget:
    """One target. ``mode`` is what all its answers are for a while: ``busy``, ``refused``, ``throttled``."""

    def __init__(self, name: str, books: Books, chance: random.Random, fault_rate: float, saw: Saw) -> None:
        self._name = name
        self._books = books
        self._chance = chance
        self._saw = saw
        self.fault_rate = fault_rate
        self.mode: str | None = None

    @property
    def name(self) -> str:
        return self._name

    def serves(self, endpoint: str) -> bool:
        return bool(endpoint)

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        process = current()
        name = self._books.begin(call, process)
        self._saw(self._name, call, process)
        if POISON in call.body:
            process.kill()
            await asyncio.Event().wait()
        word = "cut"
        try:
            result = await self._answer(call, sink)
            word = str(result.status_code)
        except TargetError as error:
            word = str(error.status_code or type(error).__name__)
            raise
        else:
            return result
        finally:
            self._books.end(name, UNDER_WAY if word == "cut" else word, process)

    async def check(self) -> str:
        return f"{self._name} is simulated"

    async def close(self) -> None: ...

    async def _answer(self, call: Call, sink: StreamSink | None) -> InferenceResult:
        fault = self.mode
        if fault is None and self._chance.random() < self.fault_rate:
            [fault] = self._chance.choices(FAULTS, WEIGHTS)
        if sink is not None:
            await sink.write("data: {}\n\n")
        await asyncio.sleep(self._chance.choice((0.01, 0.1, 0.4)) * (0.5 + self._chance.random()))
        match fault:
            case None:
                return answer()
            case "slow":  # longer than any lease
                await self._within(call, self._chance.uniform(5.0, 25.0))
                return answer()
            case "late" | "never":
                await self._within(call, float("inf"))
        raise self._error(fault or "")

    async def _within(self, call: Call, seconds: float) -> None:
        await asyncio.sleep(min(seconds, call.timeout_seconds))
        if seconds >= call.timeout_seconds:
            raise TargetTimeout(f"no answer within {call.timeout_seconds:g} s")

    def _error(self, fault: str) -> TargetError:
        match fault:
            case "throttled":
                return TargetThrottled("slow down", status_code=429, body=b"{}")
            case "throttled_for":
                return TargetThrottled("slow down", status_code=429, retry_after=self._chance.uniform(0.0, 6.0))
            case "busy":
                return TargetUnavailable("busy", status_code=503, body=b"<html>")
            case "refused":
                return TargetUnavailable("connection refused")
            case "reset":
                return TargetFailed("the connection was reset")
            case "broken":
                return TargetFailed("broken", status_code=500, body=b'{"error": {}}')
            case "garbled":
                return TargetFailed("the answer is no JSON", status_code=200, body=b"{")
            case _:
                return TargetRejected("no", status_code=400, body=b'{"error": {"message": "no"}}')

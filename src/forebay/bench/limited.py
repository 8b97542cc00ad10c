"""One target with limits, and the real engine on it for a while: what came through, and what was refused, by second."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from forebay.app import System, open_system
from forebay.bench.child import forebay_child
from forebay.bench.engine_run import add
from forebay.bench.mock import READY
from forebay.bench.place import Place, bodies, configure, settings_of
from forebay.bench.wire import Wire, wire
from forebay.domain.record import Record

LOOK_SECONDS = 0.5
QUEUED = 2_000  # jobs that wait at any time: the limit alone holds them
SUCCEEDED = "200"
REFUSED = ("429", "503")


class _Calls(msgspec.Struct):
    in_flight: int
    by_outcome: dict[str, int]


class Look(Record, frozen=True, kw_only=True):
    """What the mock model had counted at a moment."""

    at: float  # seconds, of a clock that never jumps
    answered: int
    refused: int
    in_flight: int


def look_of(calls: bytes, at: float) -> Look:
    """Reads ``/mock/calls``: an outcome is a status, and of a refusal the limit that was reached too."""
    counted = msgspec.json.decode(calls, type=_Calls)
    return Look(
        at=at,
        answered=counted.by_outcome.get(SUCCEEDED, 0),
        refused=sum(count for outcome, count in counted.by_outcome.items() if outcome.startswith(REFUSED)),
        in_flight=counted.in_flight,
    )


class Stretch(Record, frozen=True, kw_only=True):
    """The looks of some time."""

    looks: tuple[Look, ...]

    @property
    def refused_share(self) -> float:
        """Of all calls that were answered or refused."""
        answered, refused = self._grown("answered"), self._grown("refused")
        return refused / max(answered + refused, 1)

    @property
    def answered(self) -> int:
        return self._grown("answered")

    def rate(self, last_seconds: float) -> float:
        """Answers a second in the last seconds."""
        end = self.looks[-1]
        start = next(look for look in self.looks if look.at >= end.at - last_seconds)
        return (end.answered - start.answered) / max(end.at - start.at, LOOK_SECONDS)

    @property
    def seconds(self) -> float:
        return self.looks[-1].at - self.looks[0].at

    def in_flight(self, last_seconds: float) -> float:
        """Calls under way, on the average of the last seconds."""
        late = [look.in_flight for look in self.looks if look.at >= self.looks[-1].at - last_seconds]
        return sum(late) / len(late)

    def _grown(self, name: str) -> int:
        first, last = getattr(self.looks[0], name), getattr(self.looks[-1], name)
        return int(last - first)


@dataclass(slots=True)
class Limited:
    """A mock model with limits and the engine that works on it."""

    system: System
    line: Wire
    _fed: int = field(default=0, init=False)

    async def watch(self, seconds: float) -> Stretch:
        """Keeps the queue full for so long, and looks."""
        until = time.perf_counter() + seconds
        looks = [await self._look()]
        while time.perf_counter() < until:
            await self._feed(looks[-1])
            await asyncio.sleep(LOOK_SECONDS)
            looks.append(await self._look())
        return Stretch(looks=tuple(looks))

    async def change(self, options: dict[str, object]) -> None:
        """Changes the mock model's options. Raises: RuntimeError: it has no such option."""
        answer = await self.line.post("/mock/options", msgspec.json.encode(options))
        if answer.status != 200:
            raise RuntimeError(f"the mock model refused its options: {answer.body[:200]!r}")

    async def _look(self) -> Look:
        answer = await self.line.get("/mock/calls")
        return look_of(answer.body, time.perf_counter())

    async def _feed(self, look: Look) -> None:
        missing = look.answered + QUEUED - self._fed
        if missing > 0:
            await add(self.system, bodies(missing))
            self._fed += missing


@asynccontextmanager
async def limited(place: Place, name: str, *options: str, latency_ms: float) -> AsyncIterator[Limited]:
    """Runs `forebay mock-model` with the options, and an engine that has to learn what it allows."""
    arguments = ("mock-model", "--port", "0", "--latency-ms", str(latency_ms), *options)
    async with forebay_child(*arguments, ready=READY) as mock:
        file = configure(place.new_folder(name), mock.address, concurrency=None)
        async with (
            open_system(settings_of(file)) as system,
            wire(mock.address) as line,
            system.worker(system.worker_options(drain_seconds=1.0)),
        ):
            yield Limited(system=system, line=line)

"""Section `push`: from a submission on a WebSocket to its result on the same one, beside the model's own latency; from
a commit to the push; and what an idle socket holds.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import TypeVar

import msgspec

from forebay.bench.figures import Aim, Figure
from forebay.bench.place import Place, bodies, configure, server, worker
from forebay.bench.socket_wire import SocketWire, socket_wire
from forebay.bench.usage import can_look, memory_mb
from forebay.bench.wire import Wire, wire
from forebay.domain.record import Record

SECTION = "push"
PATH = "/v1/chat/completions"
CLIENTS = (1, 100, 1_000)
PER_SECOND = 250.0  # of all clients together: below what the machine can do, so that no queue is measured
IDLE_SOCKETS = 2_000
SPREAD = 7  # a seed
KILOBYTES_A_MEGABYTE = 1000
COMMIT_AIM_MS = 10.0  # within one process
APART_AIM_MS = 50.0  # between two
IDLE_AIM_KB = 40.0


class _Job(msgspec.Struct):
    finished_at: float | None
    status: str


class _Message(msgspec.Struct):
    type: str
    job: _Job | None = None


class Pushed(Record, frozen=True, kw_only=True):
    """One job's way: from its submission to its result, and from its end in the store to its result."""

    seconds: float
    after_end_seconds: float


Line = TypeVar("Line")
Found = TypeVar("Found")
_MESSAGE = msgspec.json.Decoder(_Message)


async def measure(place: Place) -> list[Figure]:
    """Each number of clients by itself, through the socket and directly to the model."""
    figures: list[Figure] = []
    async with place.mock() as mock:
        file = configure(place.new_folder("one"), mock.address)
        async with server(file) as serving:
            if can_look():  # first: later there is memory that was used before
                place.tell(f"{IDLE_SOCKETS:,} idle sockets")
                figures.append(await _idle(serving.address, serving.pid))
            for clients in CLIENTS:
                jobs = _jobs_of(place, clients)
                place.tell(f"{jobs} jobs of {clients:,} clients, pushed and called directly")
                pushed = await _pushed(serving.address, clients, jobs)
                direct = await _called(mock.address, clients, jobs)
                figures += _latencies(clients, pushed, direct)
                if clients == CLIENTS[0]:
                    figures.append(_after_commit("one process", pushed, COMMIT_AIM_MS))
        figures.append(await _apart(place, mock.address))
    return figures


async def _apart(place: Place, mock: str) -> Figure:
    place.tell("the worker in a process of its own")
    file: Path = configure(place.new_folder("two"), mock)
    async with server(file, "--no-worker") as serving, worker(file):
        pushed = await _pushed(serving.address, 1, _jobs_of(place, 1))
    return _after_commit("worker in another process", pushed, APART_AIM_MS)


def _jobs_of(place: Place, clients: int) -> int:
    return max(place.sizes.pushes, clients)


async def _pushed(address: str, clients: int, jobs: int) -> list[Pushed]:
    """Submits on as many sockets as there are clients, in turns; none has two jobs at once."""
    texts = [b'{"action":"submit","job":{"target":"mock","body":' + body + b"}}" for body in bodies(jobs)]
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(socket_wire(address)) for _ in range(clients)]
        await _push(lines[0], texts[0])
        return await _spread(lines, texts, _push)


async def _called(address: str, clients: int, jobs: int) -> list[float]:
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(wire(address)) for _ in range(clients)]
        await _call(lines[0], bodies(1)[0])
        return await _spread(lines, bodies(jobs), _call)


async def _spread(
    lines: list[Line], texts: list[bytes], step: Callable[[Line, bytes], Awaitable[Found]]
) -> list[Found]:
    """Sends the texts at random moments, ``PER_SECOND`` on average, each on the line whose turn it is."""
    chance = random.Random(SPREAD)  # noqa: S311 - the same moments in every run, no secret
    loop = asyncio.get_running_loop()
    moments: list[float] = []
    for _ in texts:
        moments.append((moments[-1] if moments else loop.time()) + chance.expovariate(PER_SECOND))

    async def turns(first: int) -> list[Found]:
        found = []
        for place in range(first, len(texts), len(lines)):
            await asyncio.sleep(moments[place] - loop.time())
            found.append(await step(lines[first], texts[place]))
        return found

    return [one for each in await asyncio.gather(*map(turns, range(len(lines)))) for one in each]


async def _push(line: SocketWire, text: bytes) -> Pushed:
    sent = time.perf_counter()
    line.send(text)
    while (message := _MESSAGE.decode(await line.receive())).type == "accepted":
        continue
    received, now = time.perf_counter(), time.time()
    if message.job is None or message.job.finished_at is None or message.job.status != "succeeded":
        raise RuntimeError(f"a job was not answered: {message}")
    return Pushed(seconds=received - sent, after_end_seconds=now - message.job.finished_at)


async def _call(line: Wire, body: bytes) -> float:
    answer = await line.post(PATH, body)
    if answer.status != 200:
        raise RuntimeError(f"a call was answered {answer.status}: {answer.body[:200]!r}")
    return answer.seconds


async def _idle(address: str, pid: int) -> Figure:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(socket_wire(address))
        before = memory_mb([pid])
        for _ in range(IDLE_SOCKETS):
            await stack.enter_async_context(socket_wire(address))
        held = (memory_mb([pid]) - before) * KILOBYTES_A_MEGABYTE / IDLE_SOCKETS
    return Figure(
        section=SECTION,
        name=f"memory of an idle socket, of {IDLE_SOCKETS:,}",
        measured=max(0.0, held),
        unit="KB",
        aim=Aim(at_most=IDLE_AIM_KB),
    )


def _latencies(clients: int, pushed: list[Pushed], direct: list[float]) -> list[Figure]:
    name = f"{clients:,} client{'s' * (clients > 1)}: from submission to push"
    through = sorted(one.seconds for one in pushed)
    direct = sorted(direct)
    return [
        Figure(
            section=SECTION,
            name=f"{name}, {part}",
            measured=_at(through, share) * 1000,
            unit="ms",
            baseline=_at(direct, share) * 1000,
            baseline_name="direct call",
        )
        for part, share in (("p50", 50), ("p99", 99))
    ]


def _after_commit(where: str, pushed: list[Pushed], aim_ms: float) -> Figure:
    return Figure(
        section=SECTION,
        name=f"from the end in the store to the client, {where}, median",
        measured=median(one.after_end_seconds for one in pushed) * 1000,
        unit="ms",
        aim=Aim(at_most=aim_ms),
    )


def _at(ordered: list[float], share: int) -> float:
    return ordered[min(len(ordered) * share // 100, len(ordered) - 1)]

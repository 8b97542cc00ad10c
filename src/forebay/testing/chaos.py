"""Chaos: a server, workers and ``forebay run`` under load, killed at random instants and at named points, stopped,
drained and interrupted; then the history is checked.

The short form is an acceptance test, the long one ``python -m forebay.testing.soak``. One seed is one order of events.
"""

import asyncio
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import LIVE, Job, Status
from forebay.domain.query import JobQuery
from forebay.engine.patience import until_stored
from forebay.ports import JobStore
from forebay.testing.calls import Calls, mismatches, told_apart
from forebay.testing.history import History, read_history, violations
from forebay.testing.homes import Home, Inside, PostgresHome, SqliteHome
from forebay.testing.load import Load, is_poisoned
from forebay.testing.ports import free_port
from forebay.testing.postgres import PostgresServer
from forebay.testing.processes import Running, started
from forebay.testing.slots import Kind, Slot
from forebay.testing.watching import Watcher

LEASE_SECONDS = 2
STANDSTILL_SECONDS = 240.0  # nothing ends for so long: something is lost
POLL_SECONDS = 0.05
TROUBLED_SHARE = 0.4  # of acts, until each trouble of the store itself was had once
WATCH_SECONDS = 1.0  # between two readings of the store
INPUT = "in.jsonl"
CONFIGURATION = """
store: "{store}"
lease_seconds: {lease}
log_level: error
targets:
  mock: {{type: openai, base_url: "{mock}", models: [mock], limits: {{concurrency: {concurrency}}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long, how large, and in which order. ``armed``: the share of processes that die at a named point."""

    seed: int
    seconds: float
    workers: int = 2
    concurrency: int = 16
    batch_lines: int = 300
    run_records: int = 100
    longest_pause: float = 1.0  # between two acts
    least: "Least | None" = None  # what must have happened before the time may be up
    armed: float = 0.5
    mock: tuple[str, ...] = ("--latency-ms", "20", "--jitter", "0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Least:
    """How much must have happened, however long that takes on a slow machine."""

    accepted: int = 0
    kills: int = 0
    readings: int = 0


@dataclass(slots=True)
class Report:
    """What happened, and what is wrong with it. ``calls``: by what became of them, in the ledger and at the mock."""

    kills: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    max_in_flight: int = 0
    runs: int = 0
    readings: int = 0
    poisoned: int = 0
    violations: list[str] = field(default_factory=list)


class Chaos:
    """One run of it in a folder of its own; with a ``server``, on that PostgreSQL, which is treated badly too."""

    def __init__(self, plan: Plan, folder: Path, server: PostgresServer | None = None) -> None:
        self._plan = plan
        self._folder = folder
        self._chance = random.Random(plan.seed)
        self._report = Report()
        self._server = server
        self._home: Home = SqliteHome(folder)
        self._watcher = Watcher()
        self._slots: list[Slot] = []
        self._is_over = False

    async def run(self) -> Report:
        """Lets it all happen, waits for the end of all work, and checks."""
        async with AsyncExitStack() as stack:
            mock = await stack.enter_async_context(
                started("mock-model", "--port", "0", *self._plan.mock, folder=self._folder)
            )
            timeout = aiohttp.ClientTimeout(total=30)
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            if self._server is not None:
                home = PostgresHome(self._server, self._chance, self._report.kills)
                self._home = await stack.enter_async_context(home.reached(self._plan.workers + 2))
            self._prepare(mock)
            await self._live(session, mock)
        return self._report

    def _prepare(self, mock: Running) -> None:
        plan = self._plan
        text = CONFIGURATION.format(
            store=self._home.url, mock=mock.address, lease=LEASE_SECONDS, concurrency=plan.concurrency
        )
        (self._folder / "forebay.yaml").write_text(text)
        records = [{"text": f"record {number}."} for number in range(plan.run_records)]
        (self._folder / INPUT).write_bytes(b"\n".join(map(msgspec.json.encode, records)))

    async def _live(self, session: aiohttp.ClientSession, mock: Running) -> None:
        port = free_port()
        load = Load(session, f"http://127.0.0.1:{port}", self._plan.batch_lines, self._chance)
        try:
            async with self._home.opened() as inside:  # once, beside all that comes and goes
                await self._break_things(load, inside, port)
                await self._all_ended(inside.jobs)
                counted = await _counted(session, mock)
                self._check(load, await until_stored("history", lambda: read_history(*inside)), counted)
                self._report.violations += await self._home.problems()
        finally:
            for slot in self._slots:
                await slot.kill()

    async def _break_things(self, load: Load, inside: Inside, port: int) -> None:
        server = self._kind("server", ("serve", "--no-worker", "--port", str(port)), place=0)
        workers = [self._kind("worker", ("worker",), place=place + 1) for place in range(self._plan.workers)]
        self._slots = [self._slot(kind) for kind in (server, *workers)]
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(slot.keep()) for slot in self._slots]
            clients = [group.create_task(load.submit()), group.create_task(load.batch())]
            running = group.create_task(self._run_again_and_again())
            watching = group.create_task(self._watch(inside))
            await self._act_until_the_end(group, load)
            load.is_over = self._is_over = True
            for slot in self._slots:
                slot.armed_share = 0.0
            await asyncio.wait([*clients, running])
            await self._all_ended(inside.jobs)
            for slot in self._slots:
                slot.end()
            await asyncio.wait([*keepers, watching])

    def _kind(
        self, name: str, arguments: tuple[str, ...], *, place: int, ends: frozenset[int] = frozenset({0})
    ) -> Kind:
        return Kind(
            name=name,
            arguments=arguments,
            ends=ends,
            backing=self._home.backing,
            environment=self._home.environment(place),
        )

    def _slot(self, kind: Kind) -> Slot:
        slot = Slot(kind, self._folder, self._chance, self._report.kills, self._report.violations)
        slot.armed_share = 0.0 if self._is_over else self._plan.armed
        return slot

    def _has_happened(self, load: Load) -> bool:
        least = self._plan.least or Least()
        return (
            len(load.accepted) >= least.accepted
            and self._report.kills.total() >= least.kills
            and self._watcher.sightings >= least.readings
        )

    async def _act_until_the_end(self, group: asyncio.TaskGroup, load: Load) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        ours = ((self._kill, 9), (self._stand_still, 1), (self._ask_to_end, 3), (self._kill_all, 1))
        acts, weights = zip(*ours, *self._home.troubles, strict=True)
        due = [trouble for trouble, _ in self._home.troubles]  # each happens, however short the round
        while (share := (loop.time() - began) / self._plan.seconds) < 1 or not self._has_happened(load):
            calm = max(1.0, share) ** 2  # beyond its time: where processes start slowly, they need longer lives
            await asyncio.sleep(self._chance.uniform(0.1, 1.0) * self._plan.longest_pause * calm)
            is_theirs = due and self._chance.random() < TROUBLED_SHARE
            group.create_task((due.pop() if is_theirs else self._chance.choices(acts, weights=weights)[0])())
        for trouble in due:
            await trouble()

    async def _kill(self) -> None:
        self._chance.choice(self._slots).send(signal.SIGKILL)

    async def _stand_still(self) -> None:
        """Beyond its lease: the others take its jobs, and then it wakes with answers in its hands."""
        slot = self._chance.choice(self._slots)
        slot.send(signal.SIGSTOP)
        await asyncio.sleep(LEASE_SECONDS * self._chance.uniform(0.5, 2.0))
        slot.send(signal.SIGCONT)

    async def _ask_to_end(self) -> None:
        self._chance.choice(self._slots).send(self._chance.choice((signal.SIGTERM, signal.SIGINT)))

    async def _kill_all(self) -> None:
        for slot in self._slots:
            slot.send(signal.SIGKILL)

    async def _run_again_and_again(self) -> None:
        """The main job, again after each death until it is done; its output must be whole and in order."""
        while not self._is_over:
            output = f"out-{self._report.runs}.jsonl"
            prompt = f"{output} says {{text}}"
            arguments = ("run", INPUT, "-o", output, "--prompt", prompt, "--model", "mock")
            slot = self._slot(self._kind("run", arguments, place=-1, ends=frozenset({0, 1, 130})))
            self._slots.append(slot)
            while not await self._is_done(slot, output):
                if len(slot.endings) > 1 and slot.endings[-2:] == [1, 1]:  # poison: failed records stay failed
                    break
            self._slots.remove(slot)
            self._report.runs += 1

    async def _is_done(self, slot: Slot, output: str) -> bool:
        if self._is_over:
            slot.armed_share = 0.0
        await slot.keep(lambda _: False)
        path = self._folder / output
        if slot.endings[-1] != 0:
            return False
        rows = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
        right = [
            {"text": f"record {n}.", "output": f"echo: {output} says record {n}."}
            for n in range(self._plan.run_records)
        ]
        left = [one.name for one in self._folder.glob(f"*{output}*") if one.name != output]
        if rows != right or left:
            self._report.violations.append(
                f"{output} has {len(rows)} rows, is right: {rows == right}, beside it: {left}"
            )
        return True

    async def _watch(self, inside: Inside) -> None:
        while not self._is_over:
            await asyncio.sleep(WATCH_SECONDS)
            with suppress(StoreUnavailable):  # another time
                self._watcher.see(await read_history(*inside))

    async def _all_ended(self, jobs: JobStore) -> None:
        query = JobQuery(tenant=None, parent_id=None, statuses=LIVE, limit=1000)
        loop = asyncio.get_running_loop()
        before, since = -1, loop.time()
        while live := len(await _found(jobs, query)):
            if live != before:
                before, since = live, loop.time()
            if loop.time() - since > STANDSTILL_SECONDS:
                self._report.violations.append(f"{live} jobs stand still")
                return
            await asyncio.sleep(POLL_SECONDS)

    def _check(self, load: Load, history: History, counted: dict[str, Any]) -> None:
        report, calls = self._report, Calls.of(counted)
        self._watcher.see(history)
        report.readings = self._watcher.sightings
        report.accepted = len(load.accepted)
        report.statuses = Counter(str(status) for status in history.statuses().elements())
        report.calls = Counter(str(end) for end in told_apart(history, calls).elements())
        report.max_in_flight = counted["max_in_flight"]
        report.poisoned = sum(job.status is Status.FAILED and is_poisoned(job) for job in history.jobs.values())
        report.violations += violations(history, accepted=load.accepted.values())
        report.violations += mismatches(history, calls)
        report.violations += self._watcher.broken
        report.violations += load.mistakes(history)


async def _found(jobs: JobStore, query: JobQuery) -> list[Job]:
    while True:
        try:
            return await jobs.find(query)
        except StoreUnavailable:  # a process that died holds a lock for a moment
            await asyncio.sleep(POLL_SECONDS)


async def _counted(session: aiohttp.ClientSession, mock: Running) -> Any:
    async with session.get(f"{mock.address.removesuffix('/v1')}/mock/calls?ids=1") as reply:
        return await reply.json()

"""The world of one history: its clock and its store, its targets, its processes, and the trace of what happened."""

import hashlib
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from forebay.domain.change import Worker
from forebay.domain.ids import IdSource
from forebay.domain.target import Limits, Route, RouteEntry, TargetSpec, TargetType
from forebay.engine.services import Bounds, Services
from forebay.policy.resolution import Resolver
from forebay.policy.vigil import PATIENCE_SECONDS
from forebay.stores.sqlite.watch import Hub
from forebay.telemetry import MetricsRegistry
from forebay.testing.clock import START
from forebay.testing.simulation.blobs import Disk, MemoryBlobs
from forebay.testing.simulation.loop import STRAND, SimulatedLoop, Strand
from forebay.testing.simulation.plan import Plan, chance_of
from forebay.testing.simulation.processes import Process, current
from forebay.testing.simulation.store import Place, open_for, open_memory
from forebay.testing.simulation.targets import Books, SimulatedTarget
from forebay.testing.simulation.witness import Witness

QUICK_SECONDS = 0.003
SLOW_SECONDS = 1.5
ROUTE = "r"
FIRST = 1  # the clients' process
STOP_SHARE = 0.4


class WorldClock:
    """Wall time: the loop's, and what the clock was set by."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.offset = START

    def now(self) -> float:
        return self._loop.time() + self.offset


class World:
    """Everything of one history. ``is_chaos`` ends when nothing shall break any more."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.trace: list[str] = []
        self.is_chaos = True
        self.outage_until = 0.0
        self.processes: list[Process] = []
        self._latencies = chance_of(plan.seed, "latency")
        self._faults = chance_of(plan.seed, "faults")
        self._doubts = chance_of(plan.seed, "doubts")
        self.loop = SimulatedLoop(chance_of(plan.seed, "strands"), self.latency)
        self.outside = Strand(self.loop, "world")
        self.clock = WorldClock(self.loop)
        self.connection = open_memory()
        self.disk = Disk()
        self.books = Books()
        self.witness = Witness(self.connection, self.books, plan, self.say)
        self.targets = {
            name: SimulatedTarget(
                name, self.books, chance_of(plan.seed, f"target {name}"), plan.target_fault_rate, self.witness.saw
            )
            for name in ("a", "b")
        }
        self._specs = _specs(plan)
        self._routes = (Route(name=ROUTE, entries=(RouteEntry(target="a"), RouteEntry(target="b"))),)
        self._resolver = Resolver(tuple(self._specs.values()), self._routes)
        self._hubs: dict[Process, Hub] = {}

    def say(self, text: str) -> None:
        """Adds a line to the trace."""
        self.trace.append(f"{self.loop.time():10.4f} {STRAND.get().name:<10} {text}")

    def hear(self, method: str, event: str, words: str) -> None:
        """Listens to the engine's log: an exception that nobody foresaw is wrong, whatever came of it."""
        self.say(f"{method}: {event} {words}")
        if method == "exception":
            self.witness.broken.append(f"{event} {words}")
        if event == "worker_drained":
            self.witness.drained(current())
        if event == "leases_lost":
            self.witness.lost(current())

    def fingerprint(self) -> str:
        """The hash of all that happened."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def latency(self) -> float:
        """How long something of the machine takes."""
        chance = self._latencies
        if self.is_chaos and chance.random() < self.plan.slow_rate:
            return SLOW_SECONDS * chance.random()
        return QUICK_SECONDS * chance.random()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs the world until the work is done, then disposes of it."""
        try:
            self.outside.context.copy().run(self.loop.run_until_complete, work)
        finally:
            self.loop.dispose()
            self.connection.close()

    def open_process(self, on_end: Callable[[Process], None]) -> tuple[Process, Services]:
        """A new process with its own view of the store."""
        number = len(self.processes) + 1
        process = Process(self.loop, number, f"host{number % self.plan.machines}", on_end)
        self.processes.append(process)
        chance = chance_of(self.plan.seed, process.name)
        ids = IdSource(self.clock.now, chance_of(self.plan.seed, f"ids {process.name}"))
        place = Place(process, self.latency, self._before_commit, self._after_commit, self._is_in_doubt)
        store, hub = open_for(place, self.connection, self.clock, ids, self._signal, self._gone_from(process))
        self._hubs[process] = hub
        return process, self._services(store_ports=store, ids=ids, chance=chance)

    def _services(self, *, store_ports: Any, ids: IdSource, chance: random.Random) -> Services:
        return Services(
            clock=self.clock,
            ids=ids,
            chance=chance,
            jobs=store_ports.jobs,
            records=store_ports.records,
            limits=store_ports.limits,
            blobs=MemoryBlobs(self.disk, self.clock, ids, self.latency),
            targets=self.targets,
            specs=self._specs,
            resolver=self._resolver,
            routes=self._routes,
            prices=lambda _address, _model, _tier: None,
            bounds=Bounds(),
            meters=MetricsRegistry(),
        )

    def _gone_from(self, process: Process) -> Callable[[Worker], bool]:
        """What the process can tell of others: those of its own machine that are no more."""
        return lambda worker: worker.host == process.host and self.processes[worker.pid - 1].is_over

    def _signal(self, topics: Iterable[str]) -> None:
        """Hints go to every process, each in its own time."""
        told = sorted(topics)
        for process, hub in self._hubs.items():
            if not process.is_over:
                self.loop.call_later(self.latency(), hub.signal, told, context=process.writer.context)

    def _before_commit(self, process: Process, verbs: Sequence[str]) -> None:
        self._may_die(process, "before", verbs)
        if not self.is_chaos or process.is_over or process.writer.is_held:
            return
        if self.loop.time() < self.outage_until:
            self.connection.fails_in = 0
        elif self._faults.random() < self.plan.fault_rate:
            if self._faults.random() < 0.5:
                self.connection.fails_at_commit = True
            else:
                self.connection.fails_in = self._faults.randrange(8)

    def _after_commit(self, process: Process, verbs: Sequence[str]) -> None:
        has_failed = self.connection.has_failed()
        self.say(f"{'FAILED ' if has_failed else ''}commit of {' '.join(verbs)}")
        self.witness.committed(verbs)
        self._may_die(process, "after", verbs)

    def _is_in_doubt(self) -> bool:
        """Whether nobody hears the reply to a commit that is done, as at a failover."""
        return self.is_chaos and self._doubts.random() < self.plan.doubt_rate

    def _may_die(self, process: Process, when: str, verbs: Sequence[str]) -> None:
        """The crash points: there a worker's process is killed, or stands still until its leases have run out."""
        if not self.is_chaos or process.number == FIRST or self._faults.random() >= self.plan.crash_rate:
            return
        if self._faults.random() < STOP_SHARE:
            self.say(f"STOPS {when} the commit of {' '.join(verbs)}")
            process.stop()
            back = (self.plan.lease_seconds + PATIENCE_SECONDS) * self._faults.uniform(0.5, 3.0)
            self.loop.call_later(back, process.go_on, context=self.outside.context)
        else:
            self.say(f"DIES {when} the commit of {' '.join(verbs)}")
            process.kill()


def _specs(plan: Plan) -> dict[str, TargetSpec]:
    limits = {
        "a": Limits(concurrency=plan.concurrency),
        "b": Limits(requests_per_minute=plan.requests_per_minute),
    }
    return {
        name: TargetSpec(
            name=name,
            type=TargetType.OPENAI,
            base_url="http://127.0.0.1:9/v1",
            models=(f"{name}-model",),
            limits=limits[name],
        )
        for name in limits
    }

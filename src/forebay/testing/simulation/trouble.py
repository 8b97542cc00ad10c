"""Trouble: the world's blows, at random times: processes killed, stopped, blocked and drained, the store away, the
clock set, a target down. And the supervisor, which starts a process anew wherever one has ended.
"""

import asyncio
import random
from collections.abc import Callable

from forebay.domain.errors import StoreUnavailable
from forebay.engine.services import Services
from forebay.engine.worker import WorkerOptions
from forebay.testing.simulation.plan import chance_of
from forebay.testing.simulation.processes import Process
from forebay.testing.simulation.workers import SimulatedWorker
from forebay.testing.simulation.world import World

RESTART_SECONDS = 0.5
DRAIN_SECONDS = 5.0
BLOWS = ("kill", "kill_within", "stop", "block", "drain", "outage", "clock", "target", "kill_all")
WEIGHTS = (3, 3, 4, 2, 3, 2, 2, 3, 1)
MOST_CALLBACKS = 120
MODES = ("refused", "busy", "throttled", "broken", "never")


class Fleet:
    """The worker processes. ``size`` of them are kept running."""

    def __init__(self, world: World, size: int) -> None:
        self._world = world
        self._size = size
        self._asked_to_end: dict[Process, asyncio.Event] = {}

    @property
    def running(self) -> list[Process]:
        return [process for process in self._asked_to_end if not process.is_over]

    def start(self) -> None:
        """Brings the fleet to its size."""
        while len(self.running) < self._size:
            process, services = self._world.open_process(self._ended)
            asked = self._asked_to_end[process] = asyncio.Event()
            process.main.create_task(self._live(process, services, asked), "worker")
            self._world.say(f"{process.name} starts on {process.host}")

    def resize(self, size: int) -> None:
        """Lets fewer run from now on: whichever are too many are killed."""
        self._size = size
        for process in self.running[size:]:
            process.kill()

    def close(self) -> None:
        """Lets the last ones end in good order."""
        self._size = 0
        for process in self.running:
            self.drain(process)

    def drain(self, process: Process) -> None:
        process.main.call_soon_threadsafe(self._asked_to_end[process].set)

    def _ended(self, process: Process) -> None:
        world = self._world
        world.say(f"{process.name} is gone")
        world.loop.call_later(RESTART_SECONDS, self.start, context=world.outside.context)

    async def _live(self, process: Process, services: Services, asked: asyncio.Event) -> None:
        """What a worker's process does from its start to its good end."""
        options = WorkerOptions(
            lease_seconds=self._world.plan.lease_seconds, drain_seconds=DRAIN_SECONDS, failover_after_seconds=2.0
        )
        worker = SimulatedWorker(services, options, process)
        process.worker_id = worker.worker.id
        try:
            async with worker:
                await asked.wait()
                self._world.say("drains")
        except StoreUnavailable:
            process.kill()  # it could not start
            return
        process.kill()


class Trouble:
    """Strikes while there is chaos."""

    def __init__(self, world: World, fleet: Fleet) -> None:
        self._world = world
        self._fleet = fleet
        self._chance = chance_of(world.plan.seed, "trouble")

    async def run(self) -> None:
        """Strikes for ever; ends by cancellation."""
        pause = self._world.plan.trouble_seconds
        while pause is not None:
            await asyncio.sleep(self._chance.expovariate(1 / pause))
            [blow] = self._chance.choices(BLOWS, WEIGHTS)
            self._strike(blow)

    def calm(self) -> None:
        """Everything works again."""
        world = self._world
        world.is_chaos = False
        world.outage_until = 0.0
        for target in world.targets.values():
            target.mode, target.fault_rate = None, 0.0
        for process in self._fleet.running:
            process.main.fuse = 0
            process.go_on()

    def _strike(self, blow: str) -> None:
        chance, world, running = self._chance, self._world, self._fleet.running
        if not running and blow in {"kill", "kill_within", "stop", "block", "drain"}:
            return
        lease = world.plan.lease_seconds
        match blow:
            case "kill":
                chance.choice(running).kill()
            case "kill_within":
                chance.choice(running).kill_within(chance.randint(1, MOST_CALLBACKS))
            case "kill_all":
                for process in running:
                    process.kill()
            case "stop" | "block":
                process = chance.choice(running)
                (process.stop if blow == "stop" else process.block)()
                self._later(chance.uniform(0.1, 3 * lease), process.go_on)
                world.say(f"{process.name}: {blow}")
            case "drain":
                self._fleet.drain(chance.choice(running))
            case "outage":
                world.outage_until = world.loop.time() + chance.uniform(0.2, 2 * lease)
                world.say("the store is away")
            case "clock":
                world.clock.offset += chance.choice((-30.0, -5.0, -1.0, 1.0, 5.0, 30.0)) * chance.random()
                world.say("the clock is set")
            case _:
                self._break_target(chance)

    def _break_target(self, chance: random.Random) -> None:
        target = self._world.targets[chance.choice(("a", "b"))]
        target.mode = chance.choice(MODES)
        self._world.say(f"target {target.name} is {target.mode}")

        def mend() -> None:
            target.mode = None

        self._later(chance.uniform(0.5, 6.0), mend)

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        self._world.loop.call_later(delay, action, context=self._world.outside.context)

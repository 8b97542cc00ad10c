"""One history from its seed: the world is set up, worked and broken, left in peace, and judged."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from forebay.testing.history import History, read_history
from forebay.testing.simulation.checks import verdicts
from forebay.testing.simulation.clients import Clients
from forebay.testing.simulation.logs import heard
from forebay.testing.simulation.loop import Stuck
from forebay.testing.simulation.plan import Plan, plan_of
from forebay.testing.simulation.trouble import Fleet, Trouble
from forebay.testing.simulation.world import World

LOOK_SECONDS = 2.0
DRAINED_SECONDS = 60.0
LIVE = "SELECT count(*) FROM jobs WHERE status NOT IN ('succeeded', 'failed', 'cancelled')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a history. ``fingerprint``: the hash of its trace."""

    plan: Plan
    violations: tuple[str, ...]
    fingerprint: str
    trace: tuple[str, ...]
    steps: int
    jobs: int
    calls: int
    simulated_seconds: float


def run_history(seed: int, plan: Plan | None = None) -> Outcome:
    """Runs the history of a seed. The same seed gives the same history in every process."""
    return _Run(World(plan or plan_of(seed))).run()


class _Run:
    def __init__(self, world: World) -> None:
        self._world = world
        self._found: list[str] = []
        self._history = History()

    def run(self) -> Outcome:
        world = self._world
        with heard(world.hear):
            try:
                world.run(self._all())
            except Stuck as stuck:
                self._found.append(f"the history has no end: {stuck}")
            except ExceptionGroup as group:
                self._found += [f"a client was told what no client can expect: {error!r}" for error in group.exceptions]
        return Outcome(
            plan=world.plan,
            violations=tuple(self._found),
            fingerprint=world.fingerprint(),
            trace=tuple(world.trace),
            steps=world.loop.steps,
            jobs=len(self._history.jobs) + sum(map(len, self._history.ledgers.values())),
            calls=world.books.total,
            simulated_seconds=world.loop.time(),
        )

    async def _all(self) -> None:
        world = self._world
        clients, fleet = Clients(world), Fleet(world, world.plan.workers)
        trouble = Trouble(world, fleet)
        fleet.start()
        asking = clients.process.main.create_task(clients.run(), "clients")
        striking = asyncio.create_task(trouble.run())
        await asyncio.sleep(world.plan.chaos_seconds)
        with _ended(striking):
            await striking
        world.say("peace")
        trouble.calm()
        fleet.resize(1)
        await asking
        await self._all_ended()
        await self._all_drained(fleet)
        reading = clients.process.main.create_task(
            read_history(clients.services.jobs, clients.services.blobs), "reading"
        )
        self._history = await reading
        self._found += verdicts(self._history, world, clients)

    async def _all_ended(self) -> None:
        world = self._world
        give_up_at = world.loop.time() + world.plan.peace_seconds
        while world.loop.time() < give_up_at:
            [[live]] = world.witness.rows(LIVE)
            if not live:
                return
            await asyncio.sleep(LOOK_SECONDS)
        self._found.append(f"{live} jobs are live {world.plan.peace_seconds:g} s after all was well")

    async def _all_drained(self, fleet: Fleet) -> None:
        """The last worker ends in good order, and nothing is left of it."""
        fleet.close()
        give_up_at = self._world.loop.time() + DRAINED_SECONDS
        while fleet.running and self._world.loop.time() < give_up_at:
            await asyncio.sleep(0.1)
        self._found += [f"{process.name} has not drained in {DRAINED_SECONDS:g} s" for process in fleet.running]
        [[leases]] = self._world.witness.rows("SELECT count(*) FROM leases")
        if leases:
            self._found.append(f"{leases} leases are left when all has ended")


@contextlib.contextmanager
def _ended(task: "asyncio.Task[None]") -> Iterator[None]:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        yield

"""A store that comes back, a clock that is set: who lives keeps its leases, and who starts just then goes on."""

from pathlib import Path

from forebay.domain.change import Worker
from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Status
from forebay.policy.vigil import Vigil
from forebay.stores.sqlite import open_store
from forebay.testing.clock import FakeClock
from forebay.testing.targets import ScriptedTarget

from .conftest import OpenEngine
from .faulty import faulty, moves_on, until

YEARS = 3 * 365 * 86_400.0
LEASE_SECONDS = 30


class Steady:
    """A clock that nobody sets."""

    seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1
        return self.seconds


async def test_a_worker_whose_heart_beats_keeps_its_leases_when_the_clock_jumps_or_the_store_was_away(
    tmp_path: Path,
) -> None:
    clock, steady = FakeClock(), Steady()
    store = await open_store(tmp_path / "forebay.db", clock=clock, vigil=Vigil(5, steady))
    worker = Worker(id="worker_1", lease_seconds=LEASE_SECONDS, host="elsewhere")
    await store.jobs.renew(worker)
    for jump in (YEARS, -YEARS, YEARS, 10 * LEASE_SECONDS):
        clock.advance(jump)
        for _ in range(4):
            await store.jobs.recover()
        assert (await store.jobs.renew(worker)).is_alive
    clock.advance(10 * LEASE_SECONDS)
    for _ in range(6):
        await store.jobs.recover()
    assert not (await store.jobs.renew(worker)).is_alive
    await store.close()


async def test_a_worker_whose_store_goes_away_as_it_starts_registers_later(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    jobs, worker = await faulty(engine)
    jobs.fail("renew", StoreUnavailable("away"))
    job_id = await engine.submit()
    async with worker:
        await until(lambda: moves_on(engine, job_id))
    assert (await engine.get(job_id)).status is Status.SUCCEEDED

"""Rates that several workers share through the store: booked in blocks, each worker in its turn."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from forebay.domain.lesson import Lesson
from forebay.domain.target import Limits, TargetSpec, TargetType
from forebay.engine.permits import Permits, permits_for
from forebay.ports import Clock, Grant, LimitStore, Rate
from forebay.stores.sqlite import open_store
from forebay.testing.conformance.world import OpenedStore, OpenStore, World, opened
from forebay.testing.mock_model.limits import Bucket
from tests.integration.postgres_house import empty_place, opened_at, server

STEP_SECONDS = 0.01
STEPS_BETWEEN_LOOKS = (1, 2, 3, 5)  # of each worker: some are busier than others
SECONDS = 20
REQUESTS, TOKENS = 600.0, 60_000.0  # a minute


class Counted:
    """A limit store that counts what it is asked."""

    def __init__(self, limits: LimitStore) -> None:
        self.asked = 0
        self.in_vain = 0
        self._limits = limits

    async def reserve(self, rate: Rate, amount: float, ahead_seconds: float = 0.0) -> Grant:
        grant = await self._limits.reserve(rate, amount, ahead_seconds)
        self.asked += 1
        self.in_vain += grant.granted == 0
        return grant

    async def give_back(self, rate: Rate, amount: float) -> None:
        await self._limits.give_back(rate, amount)

    async def charge(self, budget: str, amount_usd: float, ceiling_usd: float) -> bool:
        return await self._limits.charge(budget, amount_usd, ceiling_usd)

    async def spent(self, budget: str) -> float:
        return await self._limits.spent(budget)

    async def tell(self, lessons: Sequence[Lesson], lasting_seconds: float) -> None:
        await self._limits.tell(lessons, lasting_seconds)

    async def heard(self, targets: Sequence[str]) -> list[Lesson]:
        return await self._limits.heard(targets)


@dataclass
class Crowd:
    """Several workers with endless work, before a target that allows what they share."""

    world: World
    counted: Counted
    workers: list[tuple[int, Permits]]
    bucket: Bucket
    accepted: float = 0.0
    refused: int = 0

    async def run(self, seconds: float, size: float = 1.0, charge: float = 1.0) -> None:
        """``size``: of a call, as estimated; ``charge``: by what share of that it is corrected afterwards."""
        for step in range(int(seconds / STEP_SECONDS)):
            self.world.clock.advance(STEP_SECONDS)
            now = self.world.clock.now()
            for pace, permits in self.workers:
                if step % pace:
                    continue
                await permits.refill(now, size)
                while permits.pieces:
                    permits.take(size * charge)
                    if self.bucket.take(size * charge, now):
                        self.refused += 1
                    else:
                        self.accepted += size * charge


@pytest.fixture(params=["sqlite", "postgres"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with opened(await _opener(str(request.param))) as opened_world:
        yield opened_world


async def _opener(kind: str) -> OpenStore:
    async def in_memory(clock: Clock) -> OpenedStore:
        return await open_store(":memory:", clock=clock)

    async def in_postgres(clock: Clock) -> OpenedStore:
        return await opened_at(await empty_place(server().url()), clock)

    return in_memory if kind == "sqlite" else in_postgres


def _crowd(world: World, requests: float | None = None, tokens: float | None = None) -> Crowd:
    limits = Limits(requests_per_minute=requests, tokens_per_minute=tokens)
    spec = TargetSpec(name="t", type=TargetType.OPENAI, base_url="http://127.0.0.1:9/v1", limits=limits)
    counted = Counted(world.limits)
    workers = []
    for pace in STEPS_BETWEEN_LOOKS:
        [permits] = [one for one in permits_for(spec, counted, world.clock) if one is not None]
        workers.append((pace, permits))
    return Crowd(world, counted, workers, Bucket(requests or tokens or 0.0, burst_seconds=1.0))


async def test_four_workers_use_a_shared_rate_up_and_pass_it_never(world: World) -> None:
    crowd = _crowd(world, REQUESTS)
    await crowd.run(SECONDS)
    assert (crowd.accepted >= 0.95 * REQUESTS / 60 * SECONDS, crowd.refused) == (True, 0)


async def test_a_shared_rate_costs_ten_writes_a_second_whatever_the_number_of_workers(world: World) -> None:
    crowd = _crowd(world, REQUESTS)
    await crowd.run(SECONDS)
    assert (crowd.counted.asked <= 11 * SECONDS, crowd.counted.in_vain) == (True, 0)


async def test_tokens_are_shared_likewise_and_corrected_by_what_was_used(world: World) -> None:
    crowd = _crowd(world, tokens=TOKENS)
    await crowd.run(SECONDS, size=400, charge=1.25)
    assert (crowd.accepted >= 0.95 * TOKENS / 60 * SECONDS, crowd.refused) == (True, 0)
    assert crowd.counted.asked <= 11 * SECONDS


async def test_what_a_dead_worker_had_booked_comes_back(world: World) -> None:
    crowd = _crowd(world, REQUESTS)
    await crowd.run(2)
    del crowd.workers[:2]
    before = crowd.accepted
    await crowd.run(10)
    assert (crowd.accepted - before >= 0.95 * REQUESTS / 60 * 10, crowd.refused) == (True, 0)


async def test_a_worker_that_ends_gives_back_what_it_booked(world: World) -> None:
    crowd = _crowd(world, REQUESTS)
    await crowd.run(2)
    for _, permits in crowd.workers:
        await permits.close()
    world.clock.advance(0.1)
    rate = Rate(name="requests:t", per_second=10.0, burst=2.0)
    assert (await world.limits.reserve(rate, 2.0)).granted >= 0.9

"""Quotas of several processes on one store, on clocks of the test's own."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from forebay.api.quotas import COUNT_SECONDS, Quotas
from forebay.domain.errors import TooMany
from forebay.domain.job import Job
from forebay.domain.tenant import TenantSpec
from forebay.engine.services import Services
from forebay.ports import Grant, LimitStore, Rate
from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services, scripted_spec
from forebay.testing.targets import ScriptedTarget

TENANTS = {"full": TenantSpec(max_queued=10), "slow": TenantSpec(requests_per_minute=60)}


class Watch:
    """The seconds that have passed."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def services(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Services]:
    async with open_services(tmp_path, [ScriptedTarget("t")], specs=[scripted_spec("t")], clock=clock) as opened:
        yield replace(opened, tenants=TENANTS)


class CountedLimits:
    """The limits of a store, and how often they were asked."""

    def __init__(self, limits: LimitStore) -> None:
        self._limits = limits
        self.asked = 0

    async def reserve(self, rate: Rate, amount: float) -> Grant:
        self.asked += 1
        return await self._limits.reserve(rate, amount)


async def taken(quotas: Quotas, tenant: str, times: int) -> int:
    """How many of so many were let in."""
    refused = 0
    for _ in range(times):
        try:
            await quotas.take(tenant)
        except TooMany:
            refused += 1
    return times - refused


async def add(quotas: Quotas, services: Services, tenant: str, count: int) -> list[str]:
    now = services.clock.now()
    jobs = [
        Job(id=services.ids.new("job"), kind="infer", queue="q", tenant=tenant, created_at=now, deadline=now + 3600)
        for _ in range(count)
    ]
    await quotas.add(jobs)
    return [job.id for job in jobs]


async def test_processes_share_a_tenants_rate(services: Services, clock: FakeClock) -> None:
    watch = Watch()
    one, two = Quotas(services, watch), Quotas(services, watch)
    assert await taken(one, "slow", 40) + await taken(two, "slow", 40) == 60
    clock.advance(10)
    watch.seconds += 10
    assert await taken(one, "slow", 20) + await taken(two, "slow", 20) == 10


async def test_a_refused_tenant_costs_the_store_nothing(services: Services) -> None:
    watch = Watch()
    limits = CountedLimits(services.limits)
    quotas = Quotas(replace(services, limits=cast("Any", limits)), watch)
    assert await taken(quotas, "slow", 61) == 60
    asked = limits.asked
    assert await taken(quotas, "slow", 100) == 0
    assert limits.asked == asked
    with pytest.raises(TooMany) as refusal:
        await quotas.take("slow")
    assert 0 < refusal.value.retry_after <= 1


async def test_what_ended_makes_room_at_the_next_count(services: Services) -> None:
    watch = Watch()
    quotas = Quotas(services, watch)
    assert await taken(quotas, "full", 20) == 10
    ids = await add(quotas, services, "full", 10)
    await services.jobs.cancel("full", ids[:4])
    watch.seconds += COUNT_SECONDS + 60  # more than the rest after a count that took long on a busy machine
    assert await taken(quotas, "full", 20) == 4


async def test_what_others_let_in_is_seen_at_the_next_count(services: Services) -> None:
    watch = Watch()
    quotas = Quotas(services, watch)
    assert await taken(quotas, "full", 1) == 1
    await add(Quotas(services), services, "full", 9)
    watch.seconds += COUNT_SECONDS + 60
    assert await taken(quotas, "full", 5) == 0


async def test_a_tenant_without_limits_asks_the_store_nothing(services: Services) -> None:
    nothing = cast("Any", None)  # to ask it would fail
    quotas = Quotas(replace(services, jobs=nothing, limits=nothing))
    assert await taken(quotas, "free", 1000) == 1000


async def test_a_place_on_its_way_to_the_store_is_not_lost_by_a_count(services: Services) -> None:
    watch = Watch()
    quotas = Quotas(services, watch)
    assert await taken(quotas, "full", 7) == 7
    watch.seconds += COUNT_SECONDS + 60
    assert await taken(quotas, "full", 7) == 3
    quotas.give_back("full", 2)
    assert await taken(quotas, "full", 7) == 2

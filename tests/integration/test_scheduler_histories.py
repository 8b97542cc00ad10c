"""Histories of servers that tick, die within a tick, lose replies and come back: whatever happens, each firing begins
one run, and none is left out that was to be made up for.
"""

import asyncio
import tempfile
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.domain.errors import StoreUnavailable
from forebay.domain.pipeline import CatchUp
from forebay.engine.scheduler import Scheduler
from forebay.engine.services import Services
from forebay.policy.schedules import fire_times, fires_at
from forebay.stores.sqlite import open_store
from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services
from tests.integration.schedule_house import allowing, fire_times_of

SERVERS = 3
TRIGGERS = [
    {"rate": "10m", "name": "s"},
    {"rate": "10m", "name": "s", "window": "9m"},
    {"cron": "*/7 * * * *", "name": "s", "timezone": "Europe/Berlin"},
]
Step = tuple[int, float, int | None, bool]
steps = st.lists(
    st.tuples(
        st.integers(0, SERVERS - 1),  # which server ticks
        st.sampled_from([0.0, 1.0, 61.0, 599.0, 600.0, 2000.0]),  # how long after the one before
        st.none() | st.integers(0, 7),  # at which of its calls of the store it dies
        st.booleans(),  # before that call is done, or after it
    ),
    min_size=3,
    max_size=25,
)


class Dying:
    """A store whose process ends at one of its calls, before it is done or after it."""

    def __init__(self, real: Any, left: list[int | None], is_before: bool) -> None:
        self._real = real
        self._left = left
        self._is_before = is_before

    def __getattr__(self, verb: str) -> Any:
        real = getattr(self._real, verb)

        async def call(*arguments: Any, **options: Any) -> Any:
            is_last = self._left[0] == 0
            self._left[0] = None if self._left[0] is None or is_last else self._left[0] - 1
            if is_last and self._is_before:
                raise StoreUnavailable("it died before")
            reply = await real(*arguments, **options)
            if is_last:
                raise StoreUnavailable("it died after")
            return reply

        return call


@settings(max_examples=40, deadline=None)
@given(history=steps, on=st.sampled_from(TRIGGERS))
def test_each_firing_begins_one_run_and_none_is_left_out(history: list[Step], on: dict[str, Any]) -> None:
    asyncio.run(_lived(history, on))


async def _lived(history: list[Step], on: dict[str, Any]) -> None:
    configured = allowing(on=on, catch_up=CatchUp.ALL, catch_up_limit=10_000)
    [trigger] = configured.triggers
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as folder:
        opening = open_services(Path(folder), [], clock=clock, store=await open_store(":memory:", clock=clock))
        async with opening as services:
            services = replace(services, pipelines={configured.name: configured})
            start = clock.now()
            servers = [Scheduler(services) for _ in range(SERVERS)]
            await servers[0].step()
            for number, seconds, dies_at, is_before in history:
                clock.advance(seconds)
                left: list[int | None] = [dies_at]
                dying = replace(
                    services,
                    jobs=Dying(services.jobs, left, is_before),
                    records=Dying(services.records, left, is_before),
                )
                servers[number] = await _ticked(servers[number], services, dying)
            await servers[0].step()
            expected = list(
                takewhile(lambda at: fires_at(trigger, at) <= clock.now(), fire_times(trigger, start, begun_at=start))
            )
            fired = await fire_times_of(services)
            assert sorted(fired) == expected


async def _ticked(server: Scheduler, services: Services, dying: Services) -> Scheduler:
    """One tick. A server that died is followed by a new one, which knows nothing."""
    server._services = dying
    try:
        await server.step()
    except StoreUnavailable:
        return Scheduler(services)
    server._services = services
    return server


NIGHTS = {  # from the evening before, in UTC, until the noon after
    "spring": 1_806_166_800.0,  # 2027-03-27 17:00
    "autumn": 1_824_915_600.0,  # 2027-10-30 17:00
}


@pytest.mark.parametrize(
    ("night", "cron", "hours"),
    [
        ("spring", "30 2 * * *", [1.0]),  # 03:00, where it would have been 02:30
        ("spring", "30 * * * *", [one + 0.5 for one in range(-7, 9)]),
        ("autumn", "30 2 * * *", [0.5]),  # the first of two
        ("autumn", "30 2-3 * * *", [0.5, 2.5]),
        ("autumn", "30 * * * *", [one + 0.5 for one in range(-7, 9)]),
    ],
)
async def test_in_the_nights_in_which_the_clock_changes_each_firing_comes_once(
    tmp_path: Path, night: str, cron: str, hours: list[float]
) -> None:
    clock, start = FakeClock(NIGHTS[night]), NIGHTS[night]
    configured = allowing(on={"cron": cron, "timezone": "Europe/Berlin"})
    async with open_services(tmp_path, [], clock=clock) as services:
        services = replace(services, pipelines={configured.name: configured})
        servers = [Scheduler(services) for _ in range(2)]
        for minute in range(16 * 60):
            clock.advance(60)
            await servers[minute % 2].step()
        times = await fire_times_of(services)
    midnight = 7 * 3600  # in UTC
    assert [(at - start - midnight) / 3600 for at in times] == hours

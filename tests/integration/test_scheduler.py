"""Schedules fire exactly once, however many servers tick, die, stand still, or have another clock or configuration."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.errors import StoreUnavailable
from forebay.domain.job import Status
from forebay.domain.pipeline import CatchUp, Overlap, TriggerType
from forebay.domain.schedule import SCHEDULE, TURN, schedule_data
from forebay.engine.scheduler import Scheduler, scheduling
from forebay.engine.triggers.firing import seconds_until_turn
from forebay.engine.triggers.states import change_state
from forebay.testing.clock import FakeClock
from forebay.testing.doubting import DoubtingJobs
from tests.integration.schedule_house import House, allowing, args_of, opened_house, pipeline

HOURLY = {"rate": "1h", "name": "hourly"}
DAY = 86_400.0


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    async with opened_house(tmp_path, request.param) as opened:
        yield opened


@pytest.fixture
async def file_house(tmp_path: Path) -> AsyncIterator[House]:
    """For what has nothing to do with the back end."""
    async with opened_house(tmp_path, "sqlite") as opened:
        yield opened


async def tick(scheduler: Scheduler, house: House, *seconds: float) -> int:
    """Steps after each of these times."""
    fired = 0
    for one in seconds:
        house.clock.advance(one)
        fired += await scheduler.step()
    return fired


async def test_a_schedule_begins_with_its_first_tick_and_fires_at_its_times(house: House) -> None:
    scheduler, start = await house.scheduler(allowing(on=HOURLY)), house.clock.now()
    assert await tick(scheduler, house, 0, 3599, 1, 0.5, 3600) == 2
    assert await house.fire_times(start) == [3600, 7200]
    [first, _] = await house.runs()
    assert first.key == f"schedule:hourly:{start + 3600:.3f}"
    trigger = args_of(first).trigger
    assert (trigger.type, trigger.name) == (TriggerType.RATE, "hourly")


async def test_two_servers_that_tick_at_once_fire_once(house: House) -> None:
    servers = [await house.scheduler(allowing(on=HOURLY)) for _ in range(3)]
    await asyncio.gather(*[one.step() for one in servers])
    start = house.clock.now()
    for _ in range(3):
        house.clock.advance(3600)
        await asyncio.gather(*[one.step() for one in servers for _ in range(2)])
    assert await house.fire_times(start) == [3600, 7200, 10_800]


async def test_a_server_whose_own_clock_is_wrong_fires_by_the_stores(house: House) -> None:
    ahead, start = FakeClock(house.clock.now() + 5 * DAY), house.clock.now()
    wrong = Scheduler(await house.server(allowing(on=HOURLY), clock=ahead))
    right = await house.scheduler(allowing(on=HOURLY))
    for scheduler in (wrong, right):
        await scheduler.step()
    for _ in range(4):
        house.clock.advance(1800)
        ahead.advance(1800)
        await wrong.step()
        await right.step()
    assert await house.fire_times(start) == [3600, 7200]


async def test_a_server_that_died_before_it_noted_the_firing_is_followed_by_one_that_fires_nothing_more(
    house: House,
) -> None:
    dying, start = await house.scheduler(pipeline(on=HOURLY)), house.clock.now()
    await dying.step()
    house.clock.advance(3600)
    [server] = house.servers
    failing = _Failing(server.records)
    object.__setattr__(server, "records", failing)
    failing.unwritable = TURN  # which comes before the run
    with pytest.raises(StoreUnavailable):
        await dying.step()
    assert await house.runs() == []
    failing.unwritable = SCHEDULE
    with pytest.raises(StoreUnavailable):
        await dying.step()
    assert len(await house.runs()) == 1
    other = await house.scheduler(pipeline(on=HOURLY))
    assert await tick(other, house, 5) == 1  # found begun
    assert await house.fire_times(start) == [3600]
    [run] = await house.runs()
    record = await house.servers[1].records.get("default", SCHEDULE, "hourly")
    assert record is not None
    assert schedule_data(record).last_run_id == run.id
    assert schedule_data(record).last_skipped_at is None


async def test_a_run_whose_adding_was_not_answered_is_not_added_twice(house: House) -> None:
    services = await house.server(pipeline(on=HOURLY))
    doubting = DoubtingJobs(services.jobs)
    object.__setattr__(services, "jobs", doubting)
    scheduler, start = Scheduler(services), house.clock.now()
    await scheduler.step()
    house.clock.advance(3600)
    doubting.lose("add")
    with pytest.raises(StoreUnavailable):
        await scheduler.step()
    assert await tick(scheduler, house, 1) == 1
    assert await house.fire_times(start) == [3600]


@pytest.mark.parametrize(
    ("catch_up", "fired"),
    [(CatchUp.NONE, 0), (CatchUp.LATEST, 1), (CatchUp.ALL, 24)],
)
async def test_a_days_outage_fires_no_day_of_runs_unless_asked(
    file_house: House, catch_up: CatchUp, fired: int
) -> None:
    configured = allowing(on=HOURLY, catch_up=catch_up)
    await (await file_house.scheduler(configured)).step()
    start = file_house.clock.now()
    file_house.clock.advance(DAY + 1800)
    after = await file_house.scheduler(configured)
    assert await tick(after, file_house, 0, 1) == fired
    times = [3600.0 * hour for hour in range(1, 25)]
    assert await file_house.fire_times(start) == times[24 - fired :]
    assert await tick(after, file_house, 1800) == 1  # and goes on as before


async def test_no_more_are_made_up_for_than_the_limit(file_house: House) -> None:
    configured = allowing(on=HOURLY, catch_up=CatchUp.ALL, catch_up_limit=3)
    await (await file_house.scheduler(configured)).step()
    start = file_house.clock.now()
    file_house.clock.advance(DAY + 1800)
    assert await (await file_house.scheduler(configured)).step() == 3
    assert await file_house.fire_times(start) == [DAY - 7200, DAY - 3600, DAY]


async def test_under_skip_a_live_run_is_in_the_way_and_what_is_made_up_for_waits(file_house: House) -> None:
    configured = pipeline(on=HOURLY, catch_up=CatchUp.ALL, catch_up_limit=2)
    scheduler, start = await file_house.scheduler(configured), file_house.clock.now()
    assert await tick(scheduler, file_house, 0, 3600, 3600) == 1
    record = await file_house.servers[0].records.get("default", SCHEDULE, "hourly")
    assert record is not None
    assert schedule_data(record).last_skipped_at == start + 7200
    await file_house.end_runs()
    assert await tick(scheduler, file_house, 3600) == 1
    file_house.clock.advance(5 * 3600 + 1800)
    assert await (await file_house.scheduler(configured)).step() == 2
    assert await file_house.fire_times(start) == [3600, 10_800, 25_200, 28_800]
    [_, _, first, second] = await file_house.runs()
    services = file_house.servers[0]
    assert await seconds_until_turn(first, args_of(first), services) == 1.0  # after the one of 10,800
    assert await seconds_until_turn(second, args_of(second), services) == 2.0


async def test_two_triggers_of_a_pipeline_that_fire_at_once_on_two_servers_begin_one_run(house: House) -> None:
    configured = pipeline(on=[HOURLY, {"rate": "2h", "name": "two"}])
    servers = [await house.scheduler(configured) for _ in range(2)]
    for one in servers:
        await one.step()
    house.clock.advance(3600)
    await asyncio.gather(*[one.step() for one in servers])
    await house.end_runs()
    house.clock.advance(3600)
    await asyncio.gather(*[one.step() for one in servers])
    assert len(await house.runs()) == 2


async def test_under_queue_runs_take_turns_in_the_order_of_their_firings(file_house: House) -> None:
    scheduler = await file_house.scheduler(pipeline(on=HOURLY, overlap=Overlap.QUEUE))
    assert await tick(scheduler, file_house, 0, 3600, 3600, 3600) == 3
    services, runs = file_house.servers[0], await file_house.runs()
    waits = [await seconds_until_turn(run, args_of(run), services) for run in runs]
    assert waits == [None, 1.0, 2.0]


async def test_under_replace_the_last_firing_is_the_one_that_stays(file_house: House) -> None:
    scheduler = await file_house.scheduler(pipeline(on=HOURLY, overlap=Overlap.REPLACE))
    assert await tick(scheduler, file_house, 0, 3600, 3600) == 2
    [first, second] = await file_house.runs()
    assert (first.ending is not None, second.ending) == (True, None)


async def test_a_paused_schedule_fires_nothing_and_makes_up_for_nothing(house: House) -> None:
    configured = allowing(on=HOURLY, catch_up=CatchUp.ALL)
    scheduler, start = await house.scheduler(configured), house.clock.now()
    await tick(scheduler, house, 0)
    [trigger] = configured.triggers
    other = await house.server(configured)
    await change_state(trigger, other, tenant="default", is_paused=True)
    assert await tick(scheduler, house, 3600, 3600, 1) == 0
    now = await other.jobs.now()
    await change_state(trigger, other, tenant="default", is_paused=False, considered=now)
    assert await tick(scheduler, house, 1, 3600) == 1
    assert await house.fire_times(start) == [10_800]


async def test_a_changed_cron_does_not_fire_the_past(file_house: House) -> None:
    before = allowing(on={"cron": "0 * * * *", "name": "s"}, catch_up=CatchUp.ALL)
    after = allowing(on={"cron": "*/10 * * * *", "name": "s"}, catch_up=CatchUp.ALL)
    assert await tick(await file_house.scheduler(before), file_house, 0, 3600) == 1
    file_house.clock.advance(DAY)
    changed = await file_house.scheduler(after)
    assert await tick(changed, file_house, 0) == 0
    file_house.clock.advance(1200)
    again = await file_house.scheduler(after)
    assert await tick(again, file_house, 0) == 2


async def test_during_a_roll_out_both_configurations_fire_their_own(file_house: House) -> None:
    old = await file_house.scheduler(allowing(on={"rate": "600s", "name": "s"}))
    start = file_house.clock.now()
    await old.step()
    new = await file_house.scheduler(allowing(on={"rate": "1000s", "name": "s"}))
    await new.step()
    for _ in range(20):
        file_house.clock.advance(100)
        await old.step()
        await new.step()
    assert sorted(await file_house.fire_times(start)) == [600, 1000, 1200, 1800, 2000]


async def test_a_schedule_that_was_removed_and_comes_back_begins_from_then(file_house: House) -> None:
    with_it, without = allowing(on=HOURLY, catch_up=CatchUp.ALL), allowing()
    await (await file_house.scheduler(with_it)).step()
    file_house.clock.advance(1800)
    gone = await file_house.scheduler(without)
    await gone.begin()
    assert await tick(gone, file_house, 3 * 3600) == 0
    back = await file_house.scheduler(with_it)
    start = file_house.clock.now()
    assert await tick(back, file_house, 0, 3600) == 1
    assert await file_house.fire_times(start) == [3600]


async def test_a_clock_that_is_set_forth_and_back_fires_nothing_twice_and_does_not_stand_still(
    file_house: House,
) -> None:
    scheduler, start = await file_house.scheduler(allowing(on=HOURLY)), file_house.clock.now()
    assert await tick(scheduler, file_house, 0, 3600) == 1
    await tick(scheduler, file_house, DAY)  # a slip
    ahead = len(await file_house.runs())
    await tick(scheduler, file_house, -DAY, 1800, 1800)
    await tick(scheduler, file_house, 3600)
    times = await file_house.fire_times(start)
    assert len(times) == len(set(times))
    assert {3600, 7200, 10_800} <= set(times)
    assert len(times) - ahead <= 2


async def test_what_a_pipeline_does_not_take_is_told_and_stops_no_other_schedule(file_house: House) -> None:
    broken = allowing("broken", on={"rate": "1h", "params": {"who": "nobody"}})
    scheduler = await file_house.scheduler(broken, allowing(on=HOURLY))
    assert await tick(scheduler, file_house, 0, 3600) == 1
    record = await file_house.servers[0].records.get("default", SCHEDULE, "broken")
    assert record is not None
    assert "who" in (schedule_data(record).last_error or "")


async def test_a_time_fires_once_and_never_if_it_was_over_before_it_was_known(file_house: House) -> None:
    start = file_house.clock.now()
    on: list[dict[str, Any]] = [{"at": start + 100, "name": "soon"}, {"at": start - 100, "name": "over"}]
    scheduler = await file_house.scheduler(allowing(on=on, catch_up=CatchUp.ALL))
    assert await tick(scheduler, file_house, 0, 99, 1, 1, DAY) == 1
    assert await file_house.fire_times(start) == [100]


async def test_a_tick_at_which_nothing_is_due_reads_no_record(file_house: House) -> None:
    scheduler = await file_house.scheduler(allowing(on=HOURLY))
    await scheduler.step()
    counted = _Failing(file_house.servers[0].records)
    object.__setattr__(file_house.servers[0], "records", counted)
    counted.is_away = True
    assert await tick(scheduler, file_house, *[10.0] * 50) == 0


async def test_the_loop_ticks_until_it_is_stopped_and_outlives_a_store_that_is_away(file_house: House) -> None:
    services = await file_house.server(allowing(on={"rate": "1s"}))
    failing = _Failing(services.records)
    object.__setattr__(services, "records", failing)
    failing.is_away = True
    async with asyncio.timeout(120), scheduling(services, is_server=True):
        while failing.refused < 2:
            await asyncio.sleep(0.01)
        failing.is_away = False
        while not await file_house.runs():
            file_house.clock.advance(1)
            await asyncio.sleep(0.01)
    assert {run.status for run in await file_house.runs()} == {Status.QUEUED}


class _Failing:
    """Records whose store is away: at every call, or where records of one kind are written."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self.is_away = False
        self.unwritable = ""
        self.refused = 0

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._records, verb)

    async def get(self, tenant: str, kind: str, record_id: str) -> Any:
        self._refuse(self.is_away)
        return await self._records.get(tenant, kind, record_id)

    async def put(self, record: Any) -> Any:
        self._refuse(self.is_away or record.kind == self.unwritable)
        return await self._records.put(record)

    def _refuse(self, is_refused: bool) -> None:
        if is_refused:
            self.refused += 1
            raise StoreUnavailable("away")

"""The clock is set back and forth, by hours and by years, while jobs run, wait for their time, and are handed in."""

from pathlib import Path
from typing import Any

import pytest

from forebay.testing.shifting import ClockFile

from .faults_support import (
    checked,
    configure,
    counted,
    http,
    order,
    outcomes,
    submit,
    until,
    until_ended,
    until_in_flight,
)
from .processes import started, started_worker

HOUR, YEAR = 3600.0, 365 * 86_400.0
LEASE_SECONDS = 2
CONCURRENCY = 4
SHIFTING = "forebay.testing.shifting"
STANDSTILL_SECONDS = 30.0
SHIFTS = {"an hour on": HOUR, "an hour back": -HOUR, "years on": 3 * YEAR, "years back": -3 * YEAR}


@pytest.mark.parametrize("name", SHIFTS)
async def test_a_clock_that_is_set_and_set_right_again_loses_nothing_and_sends_nothing_twice(
    name: str, tmp_path: Path
) -> None:
    clock = ClockFile(tmp_path / "clock")
    async with started("mock-model", "--port", "0", "--latency-ms", "300", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, concurrency=CONCURRENCY, lease=LEASE_SECONDS)
        arming = ("--clock", "clock", "--")
        async with (
            started(*arming, "serve", "--no-worker", "--port", "0", folder=tmp_path, module=SHIFTING) as server,
            started_worker(*arming, "worker", folder=tmp_path, module=SHIFTING) as one,
            started_worker(*arming, "worker", folder=tmp_path, module=SHIFTING) as other,
        ):
            before = [_order(f"before {number:03d}.") for number in range(CONCURRENCY)]
            ids = await submit(session, server.address, before)
            await until_in_flight(session, mock.address, CONCURRENCY)
            clock.seconds = SHIFTS[name]
            ids += await submit(session, server.address, [_order(f"during {n:03d}.") for n in range(2 * CONCURRENCY)])
            assert await submit(session, server.address, before) == ids[:CONCURRENCY], "one key, one job"
            await _until_called(session, mock.address, 2 * CONCURRENCY)
            clock.seconds = 0.0
            ids += await submit(session, server.address, [_order(f"after {n:03d}.") for n in range(CONCURRENCY)])
            await until_ended(tmp_path, seconds=STANDSTILL_SECONDS)
            assert (await one.terminate(), await other.terminate()) == (0, 0)
            assert await server.terminate() == 0
        calls = await counted(session, mock.address)
        jobs = await checked(tmp_path, ids, calls)
    assert outcomes(jobs.values()) == {"succeeded": len(ids)}
    assert calls["max_in_flight"] <= CONCURRENCY


@pytest.mark.parametrize("name", SHIFTS)
async def test_rates_go_on_when_the_clock_is_set(name: str, tmp_path: Path) -> None:
    clock = ClockFile(tmp_path / "clock")
    async with started("mock-model", "--port", "0", folder=tmp_path) as mock, http() as session:
        configure(tmp_path, mock.address, concurrency=CONCURRENCY, lease=LEASE_SECONDS)
        text = (tmp_path / "forebay.yaml").read_text()
        (tmp_path / "forebay.yaml").write_text(text.replace("limits: {", "limits: {requests_per_minute: 1200, "))
        command = ("--clock", "clock", "--", "serve", "--port", "0")
        async with started(*command, folder=tmp_path, module=SHIFTING) as server:
            ids: list[str] = []
            for seconds in (0.0, SHIFTS[name], 0.0):
                clock.seconds = seconds
                ids += await submit(session, server.address, [_order(f"{len(ids)} {n:03d}.") for n in range(10)])
                await _until_called(session, mock.address, len(ids))
            await until_ended(tmp_path, seconds=STANDSTILL_SECONDS)
            assert await server.terminate() == 0
        jobs = await checked(tmp_path, ids, await counted(session, mock.address))
    assert outcomes(jobs.values()) == {"succeeded": len(ids)}


def _order(name: str) -> dict[str, Any]:
    """A deadline is a time of the wall: one of a day would have passed, rightly, when the clock goes on by years."""
    return order(name, deadline="3650d")


async def _until_called(session: Any, mock: str, calls: int) -> None:
    async def has_them() -> bool:
        return bool((await counted(session, mock))["total"] >= calls)

    await until(has_them, seconds=STANDSTILL_SECONDS)

"""What `forebay doctor` says of schedules."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.cli.schedule_checks import schedule_checks
from forebay.domain.health import Level
from forebay.engine.scheduler import Scheduler
from forebay.engine.services import Services
from forebay.engine.triggers.states import change_state
from tests.integration.schedule_house import House, allowing, opened_house

CONFIGURED = allowing(on=[{"rate": "1h", "name": "hourly"}, {"event": {"source": ["crm"]}, "name": "sold"}])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened_house(tmp_path, "sqlite") as opened:
        yield opened


async def told(services: Services, name: str = "hourly") -> tuple[Level, str]:
    checks = {check.name: check for check in await schedule_checks(services, services.clock.now())}
    found = checks[f"schedule {name}"]
    return found.level, found.message


async def test_a_schedule_that_nobody_fires_is_a_warning(house: House) -> None:
    services = await house.server(CONFIGURED)
    assert (await told(services))[1].startswith("not known")
    scheduler = Scheduler(services)
    await scheduler.step()
    level, message = await told(services)
    assert (level, message.startswith("fires next at")) == (Level.OK, True)
    house.clock.advance(3600 + 200)
    level, message = await told(services)
    assert (level, "nobody fired it" in message) == (Level.WARN, True)
    await scheduler.step()
    assert (await told(services))[0] is Level.OK


async def test_a_paused_schedule_and_one_that_can_begin_no_run_are_told(house: House) -> None:
    services = await house.server(CONFIGURED)
    hourly, sold = CONFIGURED.triggers
    await change_state(hourly, services, tenant="default", is_paused=True)
    await change_state(sold, services, tenant="default", last_error="no detail.customer")
    assert await told(services) == (Level.OK, "paused")
    level, message = await told(services, "sold")
    assert (level, "no detail.customer" in message) == (Level.WARN, True)

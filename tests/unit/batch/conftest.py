"""An engine without a worker, and the driver that does its work."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services
from forebay.testing.targets import ScriptedTarget
from tests.unit.batch.driver import TARGET, Driver


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def driver(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Driver]:
    async with open_services(tmp_path, [ScriptedTarget(TARGET)], clock=clock) as services:
        yield Driver(services)

"""Targets that are called off-peak: work waits for the window, fails over, or goes at once where it can't wait."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from forebay.domain.errors import ConfigurationError
from forebay.domain.job import Job, Status
from forebay.domain.order import Order
from forebay.domain.target import Limits, Route, RouteEntry, TargetSpec
from forebay.engine.intake import make_job
from forebay.engine.services import Services
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.policy.windows import read_windows
from forebay.settings import load_settings
from forebay.testing.clock import FakeClock
from forebay.testing.system import open_services, scripted_spec
from forebay.testing.targets import ScriptedTarget
from tests.integration.api_server import SPECS, running_server

HOUR = 3600.0  # the clock begins at 08:00 UTC
BODY = '{"model":"night-model","messages":[{"role":"user","content":"Hello"}]}'
NIGHT, NOON = read_windows("22:00-06:00"), read_windows("12:00-13:00")
ROUTE = Route(name="either", entries=(RouteEntry(target="night"), RouteEntry(target="day")))


def declared(**day: Any) -> list[TargetSpec]:
    limits = Limits(concurrency=4)
    first = replace(scripted_spec("night"), windows=NIGHT, limits=limits)
    return [first, replace(scripted_spec("day"), limits=limits, **day)]


class Mill:
    """Two targets, one of which is called at night, and a worker that is stepped."""

    def __init__(self, services: Services, clock: FakeClock, targets: dict[str, ScriptedTarget]) -> None:
        self.services = services
        self.clock = clock
        self.targets = targets

    async def submit(self, target: str = "night", **fields: Any) -> str:
        named: dict[str, Any] = {"model": "either"} if target == "either" else {"target": target}
        order = Order(body=BODY, **named, **fields)
        [added] = await self.services.jobs.add([await make_job(order, self.services)])
        return added.id

    async def work(self, hours: float = 0.0) -> None:
        """Lets the time pass, and does what is to be done then."""
        self.clock.advance(hours * HOUR)
        await self.services.jobs.recover()
        worker = WorkerProcess(self.services, WorkerOptions())  # another's heartbeat has run out meanwhile
        await self.services.jobs.renew(worker.worker)
        await worker.run_until_idle()

    async def status(self, job_id: str) -> Status:
        return (await self.job(job_id)).status

    async def job(self, job_id: str) -> Job:
        [job] = await self.services.jobs.get(None, [job_id])
        assert job is not None
        return job

    def calls(self) -> dict[str, int]:
        return {name: len(target.calls) for name, target in self.targets.items()}


@pytest.fixture
async def mill(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Mill]:
    clock, targets = FakeClock(), {name: ScriptedTarget(name) for name in ("night", "day")}
    specs = declared(**getattr(request, "param", {}))
    async with open_services(tmp_path, targets.values(), specs=specs, routes=(ROUTE,), clock=clock) as services:
        yield Mill(services, clock, targets)


async def test_work_waits_for_the_window_and_uses_no_attempt(mill: Mill) -> None:
    job_id = await mill.submit()
    await mill.work()
    assert await mill.status(job_id) is Status.QUEUED
    for _ in range(13):
        await mill.work(1)
    assert mill.calls() == {"night": 0, "day": 0}
    await mill.work(1)  # 22:00
    job = await mill.job(job_id)
    assert (job.status, job.attempt_count) == (Status.SUCCEEDED, 1)


async def test_what_is_queued_when_the_window_closes_waits_for_the_next_one(mill: Mill) -> None:
    mill.clock.advance(14 * HOUR)
    early = await mill.submit()
    await mill.work()
    assert await mill.status(early) is Status.SUCCEEDED
    mill.clock.advance(7.9 * HOUR)
    late = await mill.submit()
    await mill.work(0.2)  # 06:06
    assert await mill.status(late) is Status.QUEUED
    for _ in range(16):
        await mill.work(1)
    assert await mill.status(late) is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("hours", "status"), [(2.0, Status.SUCCEEDED), (14.1, Status.SUCCEEDED), (15.0, Status.QUEUED)]
)
async def test_what_could_not_be_answered_after_the_window_opens_goes_at_once(
    mill: Mill, hours: float, status: Status
) -> None:
    job_id = await mill.submit(deadline=mill.clock.now() + hours * HOUR)
    await mill.work()
    assert await mill.status(job_id) is status


async def test_a_route_goes_to_a_target_that_is_open(mill: Mill) -> None:
    by_day = await mill.submit("either")
    await mill.work()
    assert (await mill.status(by_day), mill.calls()) == (Status.SUCCEEDED, {"night": 0, "day": 1})
    by_night = await mill.submit("either")
    await mill.work(14)
    assert (await mill.status(by_night), mill.calls()) == (Status.SUCCEEDED, {"night": 1, "day": 1})


@pytest.mark.parametrize("mill", [{"windows": NOON}], indirect=True)
async def test_a_route_waits_for_the_window_that_opens_first(mill: Mill) -> None:
    job_id = await mill.submit("either")
    for _ in range(4):
        assert await mill.status(job_id) is Status.QUEUED
        await mill.work(1)
    assert (await mill.status(job_id), mill.calls()) == (Status.SUCCEEDED, {"night": 0, "day": 1})


async def test_it_is_shown_and_a_wrong_window_is_refused(tmp_path: Path) -> None:
    specs = [replace(SPECS[0], windows=read_windows("22:00-06:00 Europe/Berlin")), *SPECS[1:]]
    async with running_server(tmp_path, specs=specs) as server:
        [gpt, claude, _] = (await server.get("/v1/targets"))["data"]
    assert (gpt["windows"], gpt["opens_at"]) == (["22:00-06:00 Europe/Berlin"], 1_800_046_800.0)  # 21:00 UTC
    assert (claude["windows"], claude["opens_at"]) == ([], None)
    file = tmp_path / "forebay.yaml"
    file.write_text(
        'targets:\n  a: {type: openai, base_url: "http://127.0.0.1:1/v1", models: [m], windows: ["22-6"]}\n'
    )
    with pytest.raises(ConfigurationError, match=r"windows.*no window"):
        load_settings(file, {})

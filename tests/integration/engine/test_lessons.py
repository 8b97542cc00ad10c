"""What one worker learns of a target's limits, the others go by: through the store, and for as long as it is news."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from forebay.domain.errors import TargetThrottled
from forebay.domain.target import Limits, TargetSpec, TargetType
from forebay.engine.lanes import Lane
from forebay.engine.lessons import LASTING_SECONDS, Lessons
from forebay.engine.worker import WorkerProcess
from forebay.stores.sqlite import open_store
from forebay.testing.clock import FakeClock
from forebay.testing.conformance.world import OpenedStore
from forebay.testing.system import open_services
from forebay.testing.targets import ScriptedTarget, answer
from tests.integration.postgres_house import empty_place, opened_at, server

from .conftest import Engine

THROTTLED = TargetThrottled("too many", status_code=429, retry_after=20.0)


@pytest.fixture(params=["sqlite", "postgres"])
async def engine_on(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    async with _engine(str(request.param), tmp_path, ScriptedTarget("t", [THROTTLED, answer()])) as engine:
        yield engine


@asynccontextmanager
async def _engine(kind: str, folder: Path, target: ScriptedTarget) -> AsyncIterator[Engine]:
    clock = FakeClock()
    store: OpenedStore
    if kind == "sqlite":
        store = await open_store(folder / "jobs.db", clock=clock)
    else:
        store = await opened_at(await empty_place(server().url()), clock)
    spec = TargetSpec(
        name="t",
        type=TargetType.OPENAI,
        base_url="http://127.0.0.1:9/v1",
        models=("t-model",),
        limits=Limits(concurrency=1),
    )
    async with open_services(folder, [target], specs=[spec], clock=clock, store=store) as services:
        yield Engine(services, clock)


def _lessons(engine: Engine, worker: WorkerProcess) -> Lessons:
    return Lessons(worker.lanes, engine.services, worker.worker.id)


def _lane(worker: WorkerProcess) -> Lane:
    return worker.lanes.by_name["t"]


async def test_a_pause_that_one_worker_was_told_holds_for_the_others(engine_on: Engine) -> None:
    engine = engine_on
    refused, other = await engine.worker(), await engine.worker()
    await engine.submit()
    await refused.run_until_idle()
    await _lessons(engine, refused).exchange()
    await engine.submit()
    await _lessons(engine, other).exchange()
    assert await other.claim_once() == 0
    resume = _lane(other).wake_at(engine.clock.now())
    assert resume == pytest.approx(engine.clock.now() + 20, abs=1)
    engine.clock.advance(21)
    assert await other.run_until_idle() == 2


async def test_a_worker_that_says_nothing_any_more_is_not_counted(engine_on: Engine) -> None:
    engine = engine_on
    gone, other = await engine.worker(), await engine.worker()
    await engine.submit()
    await gone.run_until_idle()
    await _lessons(engine, gone).exchange()
    await _lessons(engine, other).exchange()
    assert _lane(other).state.workers == 2
    engine.clock.advance(LASTING_SECONDS)
    await _lessons(engine, other).exchange()
    assert _lane(other).state.workers == 1


async def test_a_worker_that_ends_in_good_order_leaves_its_share_at_once(engine_on: Engine) -> None:
    engine = engine_on
    ending, other = await engine.worker(), await engine.worker()
    await engine.submit()
    await ending.run_until_idle()
    lessons = _lessons(engine, ending)
    await lessons.exchange()
    await lessons.close()
    await _lessons(engine, other).exchange()
    assert _lane(other).state.workers == 1


async def test_an_idle_worker_hears_and_writes_nothing(engine_on: Engine) -> None:
    engine = engine_on
    idle = await engine.worker()
    await _lessons(engine, idle).exchange()
    assert await engine.services.limits.heard(["t"]) == []

"""Failover of a route: what finds nobody at one target goes to the next at once; what is merely busy waits."""

import pytest

from forebay.domain.errors import TargetError, TargetThrottled, TargetUnavailable
from forebay.domain.job import Status
from forebay.domain.target import Route, RouteEntry
from forebay.testing.targets import ScriptedTarget, answer

from .conftest import BODY, OpenEngine

ROUTE = Route(name="r", entries=(RouteEntry(target="a"), RouteEntry(target="b")))
ROUTED = BODY.replace("t-model", "r")
A_MOMENT = 0.1  # longer than the jitter of a retry without a pause


@pytest.mark.parametrize(
    "error", [TargetUnavailable("refused"), TargetUnavailable("503: no room", status_code=503)], ids=str
)
async def test_a_job_that_found_nobody_at_its_first_target_is_answered_by_the_second_at_once(
    open_engine: OpenEngine, error: TargetError
) -> None:
    down, up = ScriptedTarget("a", [error]), ScriptedTarget("b")
    engine = await open_engine(down, up, routes=(ROUTE,))
    job_id = await engine.submit(target=None, body=ROUTED)
    worker = await engine.worker()
    await worker.run_until_idle()
    engine.clock.advance(A_MOMENT)
    await worker.run_until_idle()
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used) == (Status.SUCCEEDED, 0)
    assert [attempt.target for attempt in job.attempts] == ["a", "b"]


async def test_a_target_that_found_itself_again_is_asked_first_again(open_engine: OpenEngine) -> None:
    flaky, up = ScriptedTarget("a", [TargetUnavailable("refused"), answer()]), ScriptedTarget("b")
    engine = await open_engine(flaky, up, routes=(ROUTE,))
    worker = await engine.worker()
    for _ in range(3):
        await engine.submit(target=None, body=ROUTED)
        await worker.run_until_idle()
        engine.clock.advance(A_MOMENT)
        await worker.run_until_idle()
        engine.clock.advance(2)
    assert (len(flaky.calls), len(up.calls)) == (3, 1)


async def test_a_route_whose_targets_are_all_in_doubt_goes_on_trying(open_engine: OpenEngine) -> None:
    down = [ScriptedTarget(name, [TargetUnavailable("refused"), answer()]) for name in "ab"]
    engine = await open_engine(*down, routes=(ROUTE,))
    job_id = await engine.submit(target=None, body=ROUTED)
    worker = await engine.worker()
    for _ in range(3):
        await worker.run_until_idle()
        engine.clock.advance(A_MOMENT)
    assert [attempt.target for attempt in (await engine.get(job_id)).attempts] == ["a", "b", "a"]


async def test_a_target_that_is_merely_throttled_keeps_its_jobs(open_engine: OpenEngine) -> None:
    busy = ScriptedTarget("a", [TargetThrottled("429", status_code=429, retry_after=1), answer()])
    idle = ScriptedTarget("b")
    engine = await open_engine(busy, idle, routes=(ROUTE,))
    job_id = await engine.submit(target=None, body=ROUTED)
    worker = await engine.worker()
    for _ in range(4):
        await worker.run_until_idle()
        engine.clock.advance(0.5)
    assert (await engine.get(job_id)).status is Status.SUCCEEDED
    assert (len(busy.calls), len(idle.calls)) == (2, 0)


async def test_a_job_for_one_target_waits_for_it_although_a_route_would_not(open_engine: OpenEngine) -> None:
    down, up = ScriptedTarget("a", [TargetUnavailable("refused")]), ScriptedTarget("b")
    engine = await open_engine(down, up, routes=(ROUTE,))
    await engine.submit(target="a")
    worker = await engine.worker()
    for _ in range(5):
        await worker.run_until_idle()
        engine.clock.advance(1)
    assert up.calls == []

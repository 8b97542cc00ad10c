"""Suspects beside other work: they get their turn alone, and cost the others little."""

import asyncio

import pytest

from forebay.domain.answer import Answer, Done
from forebay.domain.change import Want
from forebay.domain.job import POISON_DEATHS_OF_A_GROUP, ErrorCode, Job, Status
from forebay.domain.lane import CONTROL
from forebay.engine.context import Context
from forebay.engine.suspects import FIRST_WAIT_SECONDS, WORK_FACTOR, Suspects
from forebay.engine.worker import WorkerProcess
from forebay.policy.lifecycle import next_attempt
from forebay.testing.targets import ScriptedTarget

from .conftest import BODY, Engine, OpenEngine
from .faulty import until

DAY = 86_400.0


async def test_a_suspect_lets_work_go_on_between_longer_and_longer_waits() -> None:
    suspects = Suspects()
    wants = [Want(queue="target:t", lane="t", slots=1)]
    now = waited = 0.0
    for _ in range(6):
        suspects.stand_in(["target:t"], now)
        assert suspects.are_wanted(wants)
        now, waited = now + suspects.wait_seconds, waited + suspects.wait_seconds
        suspects.were_waited_for(now)
        pause = WORK_FACTOR * suspects.wait_seconds / 2
        suspects.stand_in(["target:t"], now + pause - 1)
        assert not suspects.are_wanted(wants)
        now += pause
    assert suspects.wait_seconds > 600, "longer than a call takes by default"
    assert waited / now < 0.17
    suspects.were_tried(is_found=True, now=now)
    assert suspects.wait_seconds == FIRST_WAIT_SECONDS


async def test_a_long_call_beside_a_suspect_holds_up_no_other_job(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.engine.suspects.FIRST_WAIT_SECONDS", 0.05)
    long, short = ScriptedTarget("long", is_gated=True), ScriptedTarget("short")
    engine = await open_engine(long, short)
    suspect = await engine.submit(target="short", body=BODY.replace("t-model", "short-model"))
    for _ in range(2):
        doomed = await engine.worker(lease_seconds=5)
        [claimed] = await engine.services.jobs.claim(doomed.worker, [Want(queue="target:short", lane="short", slots=1)])
        await engine.services.jobs.begin([next_attempt(claimed, target="short", model=None, now=engine.clock.now())])
        engine.clock.advance(60)
        await engine.services.jobs.recover()
    async with await engine.worker() as worker:
        body = BODY.replace("t-model", "long-model")
        ten_minutes = await engine.submit(target="long", body=body)
        await long.entered.wait()
        worker._on_recovered(await engine.services.jobs.recover())
        beside = await engine.submit(target="short", body=BODY.replace("t-model", "short-model"))
        await until(lambda: has_ended(engine, beside))
        assert (await engine.get(suspect)).status is Status.QUEUED
        long.gate.set()
        await until(lambda: has_ended(engine, ten_minutes))
        await until(lambda: moves_on_and_sweeps(engine, worker, suspect))
        assert (await engine.get(suspect)).status is Status.SUCCEEDED


async def has_ended(engine: Engine, job_id: str) -> bool:
    return (await engine.get(job_id)).is_terminal


async def moves_on_and_sweeps(engine: Engine, worker: WorkerProcess, job_id: str) -> bool:
    engine.clock.advance(0.05)
    worker._on_recovered(await engine.services.jobs.recover())
    return await has_ended(engine, job_id)


async def test_a_group_whose_own_run_kills_its_worker_each_time_is_held_and_nothing_else_is(
    open_engine: OpenEngine,
) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    now = engine.clock.now()
    group = Job(id="job_g", kind="deadly", queue=CONTROL, is_group=True, created_at=now, deadline=now + DAY, due_at=now)
    await engine.services.jobs.add([group])
    single = await engine.submit()
    died_in: list[str] = []
    deaths = 2 + POISON_DEATHS_OF_A_GROUP
    for _ in range(deaths):
        await _die_in_it(engine, died_in)
    assert [job_id for job_id in died_in if job_id == group.id] == [group.id] * deaths
    job = await engine.get(group.id)
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, ErrorCode.POISON)
    await (await engine.worker()).run_until_idle()
    assert (await engine.get(single)).status is Status.SUCCEEDED


async def _die_in_it(engine: Engine, died_in: list[str]) -> None:
    """A worker that takes whatever there is, and is gone in the middle of the group's run."""
    entered = asyncio.Event()

    async def deadly(job: Job, context: Context) -> Answer:
        died_in.append(job.id)
        entered.set()
        await asyncio.Event().wait()
        return Done()

    doomed = await engine.worker(lease_seconds=5)
    doomed._runner._handlers = {"deadly": deadly, "infer": deadly}
    doomed._on_recovered(await engine.services.jobs.recover())
    claiming = asyncio.create_task(doomed.claim_once())
    async with asyncio.timeout(120):
        await entered.wait()
    await asyncio.sleep(0)
    claiming.cancel()
    engine.clock.advance(60)
    await engine.services.jobs.recover()

"""Slow targets: what is accepted is polled, submitted once, and holds nothing between two polls."""

import asyncio
from typing import Any

import pytest

from forebay.domain.attempt import Outcome
from forebay.domain.errors import RemoteFailed, TargetError, TargetFailed, TargetTimeout, TargetUnavailable
from forebay.domain.fanout import Branch, FanoutArgs
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.job import ErrorCode, OnUnknown, Status
from forebay.domain.order import Order
from forebay.domain.pending import PENDING
from forebay.domain.stored import StoredRecord
from forebay.domain.target import Limits, Prices, Route, RouteEntry, TargetSpec, TargetType
from forebay.engine import stopping
from forebay.engine.fanouts import make_fanout
from forebay.engine.handlers import slow
from forebay.engine.services import Services
from forebay.engine.withdrawals import Withdrawals
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.policy.resolution import Resolver
from forebay.ports import RecordStore
from forebay.testing.targets import ScriptedTarget, answer, pending

from .conftest import BODY, Engine, OpenEngine
from .faulty import is_true, until

STATE = '{"id":"remote-1"}'


async def _step(engine: Engine, seconds: float = 0.0) -> None:
    """Lets time pass, and runs what is due then."""
    engine.clock.advance(seconds)
    await engine.services.jobs.recover()
    worker = await engine.worker()
    await asyncio.wait_for(worker.run_until_idle(), 120)
    await engine.services.jobs.retire(worker.worker)


async def _die_after_a_step(engine: Engine) -> None:
    """Runs what is due in a worker that dies before any answer of it is written."""
    worker = await engine.worker()
    assert await worker.claim_once() > 0
    await until(lambda: is_true(lambda: all(not lane.in_flight for lane in worker.lanes.by_name.values())))


async def _withdrawals(engine: Engine) -> None:
    assert await Withdrawals(engine.services).step()


class _Deaf(ScriptedTarget):
    """Can't be told at first."""

    tries = 0

    async def withdraw(self, state: str) -> None:
        self.tries += 1
        if self.tries == 1:
            raise TargetUnavailable("away")
        await super().withdraw(state)


def _submissions(target: ScriptedTarget) -> int:
    return sum(call.pending is None for call in target.calls)


async def test_what_is_accepted_is_polled_with_its_state_and_is_one_attempt(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [pending(STATE), pending(STATE, progress=0.5), answer("done")])
    engine = await open_engine(target)
    job_id = await engine.submit()
    await _step(engine)
    job = await engine.get(job_id)
    assert (job.status, job.attempts[0].outcome, job.due_at) == (Status.QUEUED, Outcome.RUNNING, engine.clock.now() + 5)
    await _step(engine, 5)
    assert (await engine.get(job_id)).status is Status.QUEUED
    await _step(engine, 5)
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED
    [attempt] = job.attempts
    assert (attempt.outcome, attempt.cost_usd, job.attempt_count, job.attempts_used) == (Outcome.SUCCEEDED, 0.5, 1, 0)
    assert (attempt.finished_at or 0) - attempt.started_at == 10
    assert job.cost_usd == 0.5
    assert [call.pending for call in target.calls] == [None, STATE, STATE]
    assert await engine.services.records.list("default", PENDING) == []
    assert {call.attempt for call in target.calls} == {1}
    assert len({call.idempotency_key for call in target.calls}) == 1
    assert target.calls[0].idempotency_key.startswith(job_id)


async def test_work_that_failed_at_once_is_submitted_under_another_key_with_what_the_target_said(
    open_engine: OpenEngine,
) -> None:
    target = ScriptedTarget("t", [RemoteFailed("it failed", body=b'{"why": "x"}')])
    engine = await open_engine(target)
    job_id = await engine.submit(max_attempts=2)
    await _step(engine)
    await _step(engine, 60)
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used) == (Status.FAILED, 2)
    first, second = [call.idempotency_key for call in target.calls]
    assert second == f"{first}.1"
    assert job.result is not None
    assert (job.result.status_code, job.result.body.text) == (None, '{"why": "x"}')


async def test_a_poll_that_fails_in_passing_is_asked_again_and_uses_no_attempt(open_engine: OpenEngine) -> None:
    faults: list[TargetError] = [TargetUnavailable("away"), TargetTimeout("slow"), TargetFailed("500", status_code=500)]
    target = ScriptedTarget("t", [pending(STATE), *faults, answer("done")])
    engine = await open_engine(target)
    job_id = await engine.submit(max_attempts=1)
    for _ in range(6):
        await _step(engine, 60)
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used, len(job.attempts)) == (Status.SUCCEEDED, 0, 1)
    assert _submissions(target) == 1


async def test_work_that_failed_there_is_submitted_anew_and_counted(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [pending(STATE), RemoteFailed("it broke"), pending('{"id":2}'), answer("done")])
    engine = await open_engine(target)
    job_id = await engine.submit()
    for _ in range(6):
        await _step(engine, 60)
    job = await engine.get(job_id)
    assert (job.status, job.attempts_used) == (Status.SUCCEEDED, 1)
    assert [attempt.outcome for attempt in job.attempts] == [Outcome.UNAVAILABLE, Outcome.SUCCEEDED]
    assert [call.pending for call in target.calls] == [None, STATE, None, '{"id":2}']
    first, _, second, _ = keys = [call.idempotency_key for call in target.calls]
    assert keys == [first, first, second, second]
    assert first != second


async def test_a_cancelled_job_ends_at_once_and_its_work_is_ended_there(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [pending(STATE)])
    engine = await open_engine(target)
    job_id = await engine.submit()
    await _step(engine)
    await engine.services.jobs.cancel("default", [job_id])
    assert (await engine.get(job_id)).status is Status.CANCELLED
    await _withdrawals(engine)
    assert target.withdrawn == [STATE]
    job = await engine.get(job_id)
    assert [attempt.outcome for attempt in job.attempts] == [Outcome.CANCELLED]
    await _withdrawals(engine)
    assert target.withdrawn == [STATE], "once"


async def test_what_expires_while_its_work_goes_on_is_ended_there(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [pending(STATE, after_seconds=3000)])
    engine = await open_engine(target)
    job_id = await engine.submit(deadline=engine.clock.now() + 60)
    await _step(engine)
    await _step(engine, 61)
    await _withdrawals(engine)
    job = await engine.get(job_id)
    assert (job.status, job.error and job.error.code) == (Status.FAILED, ErrorCode.EXPIRED)
    assert (job.attempts[0].outcome, target.withdrawn) == (Outcome.CANCELLED, [STATE])


async def test_a_target_that_cannot_be_told_is_told_later(open_engine: OpenEngine) -> None:
    target = _Deaf("t", [pending(STATE)])
    engine = await open_engine(target)
    job_id = await engine.submit()
    await _step(engine)
    await engine.services.jobs.cancel("default", [job_id])
    withdrawals = Withdrawals(engine.services)
    await withdrawals.step()
    assert (await engine.get(job_id)).attempts[0].outcome is Outcome.CANCELLED
    await withdrawals.step()
    assert target.tries == 1, "not at once again"
    engine.clock.advance(10)
    await withdrawals.step()
    engine.clock.advance(600)
    await withdrawals.step()
    assert (target.tries, target.withdrawn) == (2, [STATE])


async def test_a_retried_dead_letter_is_submitted_anew_and_its_first_work_ended(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [pending(STATE), pending('{"id":2}'), answer("done")])
    engine = await open_engine(target)
    job_id = await engine.submit()
    await _step(engine)
    await engine.services.jobs.cancel("default", [job_id])
    engine.clock.advance(1)
    await engine.services.jobs.retry("default", [job_id])
    await _step(engine)
    assert target.calls[0].idempotency_key != target.calls[1].idempotency_key, "another life"
    await _withdrawals(engine)
    assert target.withdrawn == [STATE]
    await _step(engine, 5)
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED
    assert [attempt.outcome for attempt in job.attempts] == [Outcome.CANCELLED, Outcome.SUCCEEDED]
    await _withdrawals(engine)
    assert target.withdrawn == [STATE]


async def test_a_worker_that_dies_before_the_commit_of_a_submission_is_followed_by_a_poll(
    open_engine: OpenEngine,
) -> None:
    target = ScriptedTarget("t", [pending(STATE), answer("done")])
    engine = await open_engine(target)
    job_id = await engine.submit()
    await _die_after_a_step(engine)
    await _step(engine, 3600)
    job = await engine.get(job_id)
    assert (job.status, job.rescues) == (Status.SUCCEEDED, 1)
    assert [call.pending for call in target.calls] == [None, STATE]
    assert [attempt.outcome for attempt in job.attempts] == [Outcome.SUCCEEDED]


class _Held:
    """The real records, whose writes wait."""

    def __init__(self, records: RecordStore) -> None:
        self._records = records
        self.entered, self.gate = asyncio.Event(), asyncio.Event()

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._records, verb)

    async def put(self, record: StoredRecord) -> StoredRecord:
        self.entered.set()
        await self.gate.wait()
        return await self._records.put(record)


async def test_a_worker_that_is_stopped_as_its_submission_is_accepted_keeps_it(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow, "STOP_SECONDS", 60.0)  # on however slow a machine
    monkeypatch.setattr(stopping, "CANCEL_SECONDS", 60.0)
    target = ScriptedTarget("t", [pending(STATE), answer("done")])
    engine = await open_engine(target)
    job_id = await engine.submit()
    held = _Held(engine.services.records)
    fields = {name: getattr(engine.services, name) for name in engine.services.__dataclass_fields__}
    worker = WorkerProcess(Services(**{**fields, "records": held}), WorkerOptions(drain_seconds=0.0))
    async with worker:
        await asyncio.wait_for(held.entered.wait(), 120)
        draining = asyncio.create_task(worker.drain())
        while not any(task.cancelling() for task in asyncio.all_tasks() if task.get_name() == "slot"):
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # the cancellation has fallen in
        held.gate.set()
        await asyncio.wait_for(draining, 120)
    await _step(engine, 5)
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED
    assert [call.pending for call in target.calls] == [None, STATE]
    assert [attempt.outcome for attempt in job.attempts] == [Outcome.SUCCEEDED]


async def test_a_worker_that_dies_in_a_poll_leaves_no_doubt_even_where_doubt_holds(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [pending(STATE), answer("done")])
    engine = await open_engine(target)
    job_id = await engine.submit(on_unknown=OnUnknown.HOLD)
    await _step(engine)
    for _ in range(3):
        engine.clock.advance(3600)
        await engine.services.jobs.recover()
        await _die_after_a_step(engine)
    await _step(engine, 3600)
    job = await engine.get(job_id)
    assert (job.status, job.rescues, _submissions(target)) == (Status.SUCCEEDED, 0, 1)


async def test_a_budget_holds_what_was_reserved_until_the_work_has_ended(open_engine: OpenEngine) -> None:
    prices = Prices(input=1.0, output=1_000.0)
    spec = TargetSpec(
        name="t", type=TargetType.OPENAI, models=("t-model",), prices=prices, limits=Limits(concurrency=4)
    )
    target = ScriptedTarget("t", [pending(STATE), answer("done")])
    engine = await open_engine(target, specs=[spec])
    body = '{"model":"t-model","max_tokens":1000,"messages":[{"role":"user","content":"Hello"}]}'
    job_id = await engine.submit(body=body, budget_usd=5.0)
    await _step(engine)
    reserved = await engine.services.limits.spent(f"job:{job_id}")
    assert reserved > 0.9
    await _step(engine, 5)
    assert (await engine.get(job_id)).status is Status.SUCCEEDED
    assert await engine.services.limits.spent(f"job:{job_id}") == pytest.approx(0.5)


async def test_an_invalid_result_is_asked_for_anew_with_what_was_wrong(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [pending(STATE), answer("no json"), answer("{}")])
    engine = await open_engine(target)
    args = '{"schema":{"type":"object"}}'
    job_id = await engine.submit(args=args)
    for _ in range(3):
        await _step(engine, 60)
    job = await engine.get(job_id)
    assert job.status is Status.SUCCEEDED, job.error
    assert [call.pending for call in target.calls] == [None, STATE, None]
    assert b"no json" in target.calls[2].body
    assert target.calls[2].idempotency_key != target.calls[0].idempotency_key


async def test_a_lost_race_ends_the_work_of_who_lost_it(open_engine: OpenEngine) -> None:
    late, fast = ScriptedTarget("slow", [pending(STATE)]), ScriptedTarget("fast", [pending(), answer("first")])
    engine = await open_engine(late, fast)
    args = FanoutArgs(branches=(Branch(name="slow", target="slow"), Branch(name="fast", target="fast")), successes=1)
    job = await make_fanout(Order(body=BODY, fanout=args), engine.services)
    await engine.services.jobs.add([job])
    for _ in range(4):
        await _step(engine, 5)
    assert (await engine.get(job.id)).status is Status.SUCCEEDED
    await _withdrawals(engine)
    assert (late.withdrawn, fast.withdrawn) == ([STATE], [])


async def test_on_a_route_what_one_target_has_accepted_is_asked_of_that_one_alone(open_engine: OpenEngine) -> None:
    away = [TargetUnavailable("refused") for _ in range(8)]
    first = ScriptedTarget("first", [pending(STATE), *away, answer("done")])
    other = ScriptedTarget("other", [answer("not asked for")])
    entries = (RouteEntry(target="first"), RouteEntry(target="other"))
    engine = await open_engine(first, other, routes=(Route(name="any", entries=entries),))
    job_id = await engine.submit(target="any")
    for _ in range(40):
        await _step(engine, 60)
    job = await engine.get(job_id)
    assert (job.status, [attempt.target for attempt in job.attempts]) == (Status.SUCCEEDED, ["first"])
    assert (other.calls, _submissions(first)) == ([], 1)


async def test_a_target_that_is_not_configured_any_more_has_lost_its_work(open_engine: OpenEngine) -> None:
    first, other = ScriptedTarget("first", [pending(STATE)]), ScriptedTarget("other", [answer("done")])
    entries = (RouteEntry(target="first"), RouteEntry(target="other"))
    engine = await open_engine(first, other, routes=(Route(name="any", entries=entries),))
    job_id = await engine.submit(target="any")
    await _step(engine)
    fields = {name: getattr(engine.services, name) for name in engine.services.__dataclass_fields__}
    specs = {name: spec for name, spec in engine.services.specs.items() if name != "first"}
    routes = (Route(name="any", entries=entries[1:]),)
    resolver = Resolver(tuple(specs.values()), routes)
    engine.services = Services(
        **{**fields, "targets": {"other": other}, "specs": specs, "routes": routes, "resolver": resolver}
    )
    for _ in range(4):
        await _step(engine, 60)
    job = await engine.get(job_id)
    assert (job.status, [attempt.target for attempt in job.attempts]) == (Status.SUCCEEDED, ["first", "other"])
    assert job.attempts_used == 1


async def test_a_poll_goes_before_the_backlog_of_its_lane_and_holds_no_slot_between(open_engine: OpenEngine) -> None:
    engine: Engine

    def falls_due(_call: Call) -> InferenceResult:
        engine.clock.advance(5)
        return answer("other")

    target = ScriptedTarget("t", [pending(STATE), answer("other"), falls_due, answer("other")])
    engine = await open_engine(target, limits=Limits(concurrency=1))
    job_id = await engine.submit()
    await _step(engine)
    backlog = [await engine.submit() for _ in range(20)]
    await _step(engine)
    assert [call.job_id for call in target.calls[:4]] == [job_id, *backlog[:2], job_id]
    assert len(target.calls) == 22


async def test_a_poll_costs_no_tokens_of_the_lanes_limit(open_engine: OpenEngine) -> None:
    target = ScriptedTarget("t", [pending(STATE), *[pending(STATE)] * 20, answer("done")])
    engine = await open_engine(target, limits=Limits(concurrency=4, tokens_per_minute=2_000))
    body = '{"model":"t-model","max_tokens":900,"messages":[{"role":"user","content":"Hello"}]}'
    job_id = await engine.submit(body=body)
    worker = await engine.worker()
    for _ in range(30):  # in these 5 minutes 10 submissions would be let through
        await asyncio.wait_for(worker.run_until_idle(), 120)
        engine.clock.advance(10)
        await engine.services.jobs.renew(worker.worker)
        await engine.services.jobs.recover()
    assert (await engine.get(job_id)).status is Status.SUCCEEDED

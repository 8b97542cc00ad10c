"""Begins that come together are written together, and each caller hears its own reply."""

import asyncio
from typing import Any

import msgspec

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.change import Claimed, Verdict, Want
from forebay.domain.errors import StoreUnavailable
from forebay.domain.lane import target_queue
from forebay.engine.ledger import Ledger
from forebay.policy.lifecycle import next_attempt
from forebay.testing.targets import ScriptedTarget

from .conftest import Engine
from .faulty import Faulty


async def claimed_jobs(engine: Engine, count: int) -> list[Claimed]:
    for _ in range(count):
        await engine.submit()
    worker = await engine.worker()
    return await engine.services.jobs.claim(worker.worker, [Want(queue=target_queue("t"), lane="t", slots=count)])


def attempt_of(claimed: Claimed) -> Attempt:
    return next_attempt(claimed, target="t", model=None, now=claimed.job.created_at)


class Counted:
    """The store, with the size of every begin."""

    def __init__(self, jobs: Any) -> None:
        self._jobs = jobs
        self.sizes: list[int] = []

    async def begin(self, attempts: list[Attempt]) -> Any:
        self.sizes.append(len(attempts))
        return await self._jobs.begin(attempts)


async def test_attempts_begun_in_one_turn_are_written_as_one_call(open_engine: Any) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    jobs = await claimed_jobs(engine, 3)
    counted: Any = Counted(engine.services.jobs)
    ledger = Ledger(counted)
    await asyncio.gather(*[ledger.begin(attempt_of(one)) for one in jobs])
    assert counted.sizes == [3]
    for one in jobs:
        assert [attempt.outcome for attempt in (await engine.get(one.job.id)).attempts] == [Outcome.RUNNING]


async def test_a_lost_lease_is_its_own_callers_alone(open_engine: Any) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    first, second = await claimed_jobs(engine, 2)
    ledger = Ledger(engine.services.jobs)
    stale = msgspec.structs.replace(attempt_of(second), fence=second.fence + 100)
    replies = await asyncio.gather(ledger.begin(attempt_of(first)), ledger.begin(stale), return_exceptions=True)
    assert replies[0] is Verdict.APPLIED
    assert replies[1] is Verdict.LEASE_LOST


async def test_an_attempt_that_cant_be_written_fails_alone(open_engine: Any) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    first, second = await claimed_jobs(engine, 2)
    ledger = Ledger(engine.services.jobs)
    broken = msgspec.structs.replace(attempt_of(second), model="\ud800")  # no UTF-8
    replies = await asyncio.gather(ledger.begin(attempt_of(first)), ledger.begin(broken), return_exceptions=True)
    assert replies[0] is Verdict.APPLIED
    assert isinstance(replies[1], UnicodeEncodeError)


async def test_a_store_that_is_away_refuses_all_of_them(open_engine: Any) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    jobs = await claimed_jobs(engine, 2)
    away: Any = Faulty(engine.services.jobs)
    away.fail("begin", StoreUnavailable("away"))
    ledger = Ledger(away)
    replies = await asyncio.gather(*[ledger.begin(attempt_of(one)) for one in jobs], return_exceptions=True)
    assert [type(reply) for reply in replies] == [StoreUnavailable, StoreUnavailable]


async def test_a_cancelled_caller_takes_no_other_along(open_engine: Any) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    first, second = await claimed_jobs(engine, 2)
    ledger = Ledger(engine.services.jobs)
    begins = [ledger.begin(attempt_of(one)) for one in (first, second)]
    await asyncio.sleep(0)
    begins[0].cancel()
    replies = await asyncio.gather(*begins, return_exceptions=True)
    assert isinstance(replies[0], asyncio.CancelledError)
    assert replies[1] is Verdict.APPLIED

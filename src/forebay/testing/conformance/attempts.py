"""``begin`` and the attempts in ``apply``: the ledger of calls, and the fences that keep stale workers out."""

from msgspec.structs import replace

from forebay.domain.attempt import Outcome, Usage
from forebay.domain.change import Verdict
from forebay.domain.job import OnUnknown, Spec, Status
from forebay.testing.conformance.world import SOME_ERROR, TELL, World, result

USAGE = Usage(input_tokens=10, cached_tokens=2, output_tokens=5, reasoning_tokens=1)


class Fences:
    async def test_fences_grow_with_every_claim_in_the_store(self, world: World) -> None:
        for _ in range(4):
            await world.add()
        fences = [one.fence for name in ("a", "b") for one in await world.claim(name, slots=2)]
        await world.lose_workers()
        fences += [one.fence for one in await world.claim("c")]
        assert len(fences) == 8
        assert fences == sorted(set(fences))

    async def test_a_call_is_begun_only_under_the_current_lease(self, world: World) -> None:
        job = await world.add()
        stale = await world.take("one")
        await world.lose_workers()
        current = await world.take("two")
        attempts = [world.attempt(stale), world.attempt(current)]
        assert await world.jobs.begin(attempts) == [Verdict.LEASE_LOST, Verdict.APPLIED]
        assert await world.ledger(job.id) == (attempts[1],)

    async def test_a_call_is_not_begun_after_the_answer(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        await world.answer(claimed)
        assert await world.jobs.begin([world.attempt(claimed)]) == [Verdict.LEASE_LOST]
        assert await world.ledger(job.id) == ()

    async def test_a_lease_is_good_for_one_answer(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        changes = [world.change(claimed), world.change(claimed, Status.FAILED)]
        assert await world.jobs.apply(changes) == [Verdict.APPLIED, Verdict.LEASE_LOST]
        row = await world.row(job.id)
        assert (row.status, row.error) == (Status.SUCCEEDED, None)

    async def test_a_stale_answer_among_good_ones_harms_none_of_them(self, world: World) -> None:
        jobs = [await world.add() for _ in range(3)]
        stale = (await world.claim())[1]
        await world.lose_workers()
        current = await world.claim("two")
        changes = [world.change(current[0]), world.change(stale), world.change(current[2])]
        assert await world.jobs.apply(changes) == [Verdict.APPLIED, Verdict.LEASE_LOST, Verdict.APPLIED]
        statuses = [await world.status(job.id) for job in jobs]
        assert statuses == [Status.SUCCEEDED, Status.RUNNING, Status.SUCCEEDED]

    async def test_an_answer_to_a_job_that_is_gone_is_stale(self, world: World) -> None:
        claimed = await world.take_of_nothing()
        assert await world.jobs.apply([world.change(claimed)]) == [Verdict.LEASE_LOST]
        assert await world.jobs.begin([world.attempt(claimed)]) == [Verdict.LEASE_LOST]


class Ledger:
    async def test_a_begun_call_stands_in_the_ledger_before_it_is_answered(self, world: World) -> None:
        job = await world.add()
        attempt = await world.begin(await world.take())
        assert await world.ledger(job.id) == (attempt,)
        assert (await world.row(job.id)).attempt_count == 1

    async def test_an_answer_completes_its_attempt(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        attempt = await world.begin(claimed)
        world.clock.advance(3)
        done = world.completed(attempt, status_code=200, usage=USAGE, cost_usd=0.25)
        await world.answer(claimed, attempts=(done,), usage=USAGE, cost_usd=0.25)
        assert await world.ledger(job.id) == (done,)
        row = await world.row(job.id)
        assert (row.usage, row.cost_usd, row.attempt_count) == (USAGE, 0.25, 1)

    async def test_every_call_of_a_job_stays_in_its_ledger_in_order(self, world: World) -> None:
        job = await world.add()
        for number in range(3):
            claimed = await world.take()
            assert claimed.job.attempt_count == number
            attempt = await world.begin(claimed)
            failed = world.completed(attempt, Outcome.TIMEOUT, error="too slow", retry_at=world.clock.now())
            await world.answer(
                claimed, Status.QUEUED, attempts=(failed,), attempts_used=1, error=SOME_ERROR, usage=USAGE, cost_usd=0.5
            )
        assert [(one.number, one.outcome) for one in await world.ledger(job.id)] == [
            (1, Outcome.TIMEOUT),
            (2, Outcome.TIMEOUT),
            (3, Outcome.TIMEOUT),
        ]
        row = await world.row(job.id)
        assert (row.attempts_used, row.error, row.cost_usd) == (3, SOME_ERROR, 1.5)
        assert row.usage == USAGE.plus(USAGE).plus(USAGE)

    async def test_several_calls_of_one_run_are_completed_together(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        first = await world.begin(claimed)
        second = await world.begin(claimed, number=2)
        done = (world.completed(first, Outcome.UNAVAILABLE), world.completed(second))
        await world.answer(claimed, attempts=done)
        assert await world.ledger(job.id) == done
        assert (await world.row(job.id)).attempt_count == 2

    async def test_a_call_whose_worker_died_is_unknown(self, world: World) -> None:
        job = await world.add()
        await world.begin(await world.take())
        await world.lose_workers()
        [attempt] = await world.ledger(job.id)
        assert attempt.outcome == Outcome.UNKNOWN
        assert await world.status(job.id) == Status.QUEUED


class LateAnswers:
    async def test_a_late_answer_of_a_stale_worker_changes_no_job_but_completes_its_attempt(self, world: World) -> None:
        job = await world.add()
        stale = await world.take("one")
        attempt = await world.begin(stale)
        await world.lose_workers()
        await world.take("two")
        before = await world.row(job.id)
        done = world.completed(attempt, status_code=200, usage=USAGE, cost_usd=0.25)
        late = world.change(stale, attempts=(done,), attempts_used=1, usage=USAGE, cost_usd=0.25, progress="{}")
        assert await world.jobs.apply([late]) == [Verdict.LEASE_LOST]
        assert await world.row(job.id) == before
        assert await world.ledger(job.id) == (done,)

    async def test_a_late_answer_is_kept_after_another_worker_ended_the_job(self, world: World) -> None:
        job = await world.add()
        stale = await world.take("one")
        attempt = await world.begin(stale)
        await world.lose_workers()
        await world.answer(await world.take("two"), result=result("the second"))
        done = world.completed(attempt, usage=USAGE)
        assert await world.jobs.apply([world.change(stale, attempts=(done,))]) == [Verdict.LEASE_LOST]
        assert await world.ledger(job.id) == (done,)
        assert await world.status(job.id) == Status.SUCCEEDED

    async def test_a_completed_attempt_is_not_written_over(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        done = world.completed(await world.begin(claimed), usage=USAGE)
        await world.answer(claimed, attempts=(done,))
        other = replace(done, outcome=Outcome.TIMEOUT, usage=None)
        assert await world.jobs.apply([world.change(claimed, attempts=(other,))]) == [Verdict.LEASE_LOST]
        assert await world.ledger(job.id) == (done,)

    async def test_a_late_answer_spawns_and_collects_nothing(self, world: World) -> None:
        group = await world.put(world.make_group())
        stale = await world.take("one", queue="control")
        await world.lose_workers()
        late = world.change(stale, Status.WAITING, children=world.under(group.id, [world.make()]))
        assert await world.jobs.apply([late]) == [Verdict.LEASE_LOST]
        assert await world.children(group.id) == []
        assert await world.status(group.id) == Status.QUEUED

    async def test_a_job_that_may_have_been_paid_for_is_held_if_it_asks_so(self, world: World) -> None:
        job = await world.add(spec=Spec(on_unknown=OnUnknown.HOLD))
        await world.begin(await world.take())
        await world.lose_workers()
        row = await world.row(job.id)
        assert row.status == Status.FAILED
        assert row.error is not None
        assert row.error.code == "outcome_unknown"
        assert [one.outcome for one in await world.ledger(job.id)] == [Outcome.UNKNOWN]

    async def test_a_held_job_tells_of_its_end(self, world: World) -> None:
        job = await world.add(spec=Spec(on_unknown=OnUnknown.HOLD), on_end=(TELL,))
        await world.begin(await world.take())
        await world.lose_workers()
        [notice] = await world.notices(job.id)
        assert world.args(notice) == {"url": "https://example.org", "job_id": job.id, "status": "failed"}

    async def test_a_job_that_asks_to_be_held_is_sent_again_if_nothing_was_sent(self, world: World) -> None:
        job = await world.add(spec=Spec(on_unknown=OnUnknown.HOLD))
        await world.take()
        await world.lose_workers()
        assert (await world.take("two")).job.id == job.id

"""What a caller does that did not hear the reply of a verb that was done: it asks again, and nothing is done twice."""

from forebay.domain.attempt import Outcome, Usage
from forebay.domain.change import Verdict
from forebay.domain.job import Status
from forebay.testing.conformance.world import SOME_ERROR, TELL, World

USAGE = Usage(input_tokens=10, cached_tokens=2, output_tokens=5, reasoning_tokens=1)


class Repeating:
    async def test_a_call_that_is_begun_again_under_its_lease_is_begun_once(self, world: World) -> None:
        job = await world.add()
        attempt = await world.begin(await world.take())
        assert await world.jobs.begin([attempt]) == [Verdict.APPLIED]
        assert await world.ledger(job.id) == (attempt,)

    async def test_an_answer_that_is_repeated_is_applied_once(self, world: World) -> None:
        job = await world.add(on_end=(TELL,))
        claimed = await world.take()
        done = world.completed(await world.begin(claimed), usage=USAGE, cost_usd=0.25)
        change = world.change(claimed, attempts=(done,), attempts_used=1, usage=USAGE, cost_usd=0.25)
        assert await world.jobs.apply([change]) == [Verdict.APPLIED]
        before = await world.row(job.id)
        assert await world.jobs.apply([change]) == [Verdict.LEASE_LOST]
        assert await world.row(job.id) == before
        assert await world.ledger(job.id) == (done,)
        assert len(await world.notices(job.id)) == 1

    async def test_a_repeated_hand_back_takes_no_lease_that_was_given_since(self, world: World) -> None:
        job = await world.add()
        first = await world.take("one")
        begun = await world.begin(first)
        back = world.change(first, Status.QUEUED, attempts=(world.completed(begun, Outcome.CANCELLED),))
        assert await world.jobs.apply([back]) == [Verdict.APPLIED]
        second = await world.take("two")
        attempt = await world.begin(second)
        assert await world.jobs.apply([back]) == [Verdict.LEASE_LOST]
        assert await world.status(job.id) == Status.RUNNING
        assert [(one.number, one.outcome) for one in await world.ledger(job.id)] == [
            (1, Outcome.CANCELLED),
            (attempt.number, Outcome.RUNNING),
        ]

    async def test_a_repeated_spawn_adds_no_child_twice(self, world: World) -> None:
        group = await world.put(world.make_group())
        claimed = await world.take(queue="control")
        children = world.under(group.id, [world.make(), world.make()])
        change = world.change(claimed, Status.WAITING, children=children)
        verdicts = [*await world.jobs.apply([change]), *await world.jobs.apply([change])]
        assert verdicts == [Verdict.APPLIED, Verdict.LEASE_LOST]
        assert [child.id for child in await world.children(group.id)] == [child.id for child in children]
        assert await world.status(group.id) == Status.WAITING

    async def test_a_call_that_was_never_begun_is_not_made_by_its_end(self, world: World) -> None:
        job = await world.add()
        claimed = await world.take()
        unsent = world.completed(world.attempt(claimed), Outcome.CANCELLED, error="nothing was sent")
        back = world.change(claimed, Status.QUEUED, attempts=(unsent,), error=SOME_ERROR)
        assert await world.jobs.apply([back]) == [Verdict.APPLIED]
        assert await world.ledger(job.id) == ()
        row = await world.row(job.id)
        assert (row.status, row.attempt_count, row.attempts_used) == (Status.QUEUED, 0, 0)
        assert await world.jobs.apply([back]) == [Verdict.LEASE_LOST]
        assert await world.ledger(job.id) == ()

    async def test_the_end_of_a_call_of_another_lease_is_not_the_end_of_this_one(self, world: World) -> None:
        job = await world.add()
        stale = await world.take("one")
        unsent = world.completed(world.attempt(stale), Outcome.CANCELLED)  # its begin came to nothing
        await world.lose_workers()
        attempt = await world.begin(await world.take("two"))
        assert attempt.number == unsent.number
        assert await world.jobs.apply([world.change(stale, Status.QUEUED, attempts=(unsent,))]) == [Verdict.LEASE_LOST]
        assert await world.ledger(job.id) == (attempt,)

    async def test_a_worker_that_retires_twice_hands_back_nothing_more(self, world: World) -> None:
        job = await world.add()
        await world.begin(await world.take("one"))
        worker = world.known("one")
        assert await world.jobs.retire(worker) == 1
        await world.begin(await world.take("two"))
        assert await world.jobs.retire(worker) == 0
        assert await world.status(job.id) == Status.RUNNING

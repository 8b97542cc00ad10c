"""``decide`` over every answer: what it may do to a job, and what it may never."""

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.answer import Answer, Done, Failed, Retry, Snooze, Spawn
from forebay.domain.attempt import Attempt, Outcome, Usage
from forebay.domain.change import Change, Claimed
from forebay.domain.content import Content
from forebay.domain.job import ErrorCode, Job, JobError, Join, Result, Spec, Status
from forebay.policy.lifecycle import broken_off, decide, hand_back, next_attempt

NOW = 1_000_000.0
ERROR = JobError(code=ErrorCode.TARGET_TIMEOUT, message="no answer within 600 s")


def claimed_job(*, deadline: float = NOW + 3600, used: int = 0, max_attempts: int = 5, parent_id: str = "") -> Claimed:
    job = Job(
        id="job_1",
        kind="infer",
        queue="target:t",
        created_at=NOW - 10,
        deadline=deadline,
        parent_id=parent_id,
        attempts_used=used,
        attempt_count=used,
        spec=Spec(max_attempts=max_attempts),
    )
    return Claimed(job=job, fence=7, lane="t")


def decided(answer: Answer, claimed: Claimed | None = None, attempts: tuple[Attempt, ...] = ()) -> Change:
    return decide(claimed or claimed_job(), answer, attempts, now=NOW, chance=random.Random(1))


answers = st.one_of(
    st.builds(Done),
    st.builds(Failed, error=st.just(ERROR)),
    st.builds(
        Retry,
        error=st.just(ERROR),
        after_seconds=st.none() | st.floats(0, 1e5),
        is_counted=st.booleans(),
    ),
    st.builds(Snooze, after_seconds=st.floats(0, 1e6)),
    st.builds(Spawn, join=st.builds(Join, live=st.integers(0, 10))),
)


@given(answers, st.integers(0, 9), st.integers(1, 10), st.floats(NOW - 100, NOW + 1e5))
def test_every_change_carries_the_fence_and_never_leaves_a_job_running(
    answer: Answer, used: int, max_attempts: int, deadline: float
) -> None:
    claimed = claimed_job(used=used, max_attempts=max_attempts, deadline=deadline)
    change = decided(answer, claimed)
    assert change.fence == 7
    assert change.job_id == "job_1"
    assert change.status is not Status.RUNNING


@given(st.integers(0, 9), st.integers(1, 10), st.none() | st.floats(0, 1e5))
def test_a_counted_retry_never_passes_max_attempts(used: int, max_attempts: int, after: float | None) -> None:
    change = decided(Retry(error=ERROR, after_seconds=after), claimed_job(used=used, max_attempts=max_attempts))
    is_last = used + 1 >= max_attempts
    assert (change.status is Status.FAILED) == is_last
    assert change.attempts_used == 1


@given(st.integers(0, 50), st.none() | st.floats(0, 1e5))
def test_an_uncounted_retry_is_bounded_by_the_deadline_alone(used: int, after: float | None) -> None:
    change = decided(Retry(error=ERROR, after_seconds=after, is_counted=False), claimed_job(used=used))
    assert change.status is Status.QUEUED
    assert change.attempts_used == 0
    assert change.due_at is not None
    assert NOW <= change.due_at <= NOW + 3600


@given(st.none() | st.floats(0, 1e5), st.booleans())
def test_after_the_deadline_a_retry_is_expired(after: float | None, is_counted: bool) -> None:
    change = decided(Retry(error=ERROR, after_seconds=after, is_counted=is_counted), claimed_job(deadline=NOW))
    assert change.status is Status.FAILED
    assert change.error is not None
    assert change.error.code == ErrorCode.EXPIRED


def test_the_last_attempt_keeps_the_models_own_refusal() -> None:
    result = Result(status_code=500, body=Content(text="{}"))
    change = decided(Retry(error=ERROR, result=result), claimed_job(used=4))
    assert (change.status, change.result, change.error) == (Status.FAILED, result, ERROR)


def test_usage_and_cost_are_the_sums_of_the_attempts_and_unknown_stays_unknown() -> None:
    attempt = next_attempt(claimed_job(), target="t", model="m", now=NOW)
    paid = msgspec.structs.replace(attempt, usage=Usage(input_tokens=3, output_tokens=4), cost_usd=0.5)
    again = msgspec.structs.replace(paid, number=2, cost_usd=None)
    change = decided(Done(), attempts=(paid, again))
    assert change.usage == Usage(input_tokens=6, output_tokens=8)
    assert change.cost_usd == 0.5
    assert decided(Done(), attempts=(attempt,)).usage is None
    assert decided(Done(), attempts=(attempt,)).cost_usd is None


def test_an_attempts_number_follows_the_ledger_and_not_the_counted_ones() -> None:
    claimed = claimed_job()
    job = msgspec.structs.replace(claimed.job, attempt_count=9, attempts_used=2)
    attempt = next_attempt(msgspec.structs.replace(claimed, job=job), target="t", model=None, now=NOW)
    assert attempt.number == 10


def test_a_spawn_waits_with_its_join_and_its_progress() -> None:
    change = decided(Spawn(join=Join(live=5), progress='{"version":1}'))
    assert (change.status, change.join, change.progress) == (Status.WAITING, Join(live=5), '{"version":1}')


def test_handing_back_uses_no_attempt_and_is_due_at_once() -> None:
    attempt = next_attempt(claimed_job(), target="t", model=None, now=NOW)
    change = hand_back(claimed_job(), [broken_off(attempt, now=NOW)], now=NOW)
    assert (change.status, change.due_at, change.attempts_used) == (Status.QUEUED, NOW, 0)
    assert change.attempts[0].outcome is Outcome.CANCELLED


def test_an_attempt_says_when_the_job_is_tried_again() -> None:
    claimed = claimed_job()
    attempt = next_attempt(claimed, target="t", model=None, now=NOW)
    change = decided(Retry(error=ERROR), claimed, (attempt,))
    assert [change.due_at] == [one.retry_at for one in change.attempts]


def test_a_last_attempt_says_nothing_of_another() -> None:
    claimed = claimed_job(used=4)
    attempt = next_attempt(claimed, target="t", model=None, now=NOW)
    change = decided(Retry(error=ERROR), claimed, (attempt,))
    assert change.status is Status.FAILED
    assert all(one.retry_at is None for one in change.attempts)

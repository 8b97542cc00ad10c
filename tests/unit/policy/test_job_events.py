"""``events_of``: the same state gives the same events; ids grow; what was told is not told otherwise later."""

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.batch import BATCH, Cursor
from forebay.domain.change import Tally
from forebay.domain.job import Job, Status
from forebay.policy.job_events import EventType, JobEvent, Standing, events_of, standing_of

NOW = 1_793_577_600.0
JOB = Job(id="job_1", kind="infer", queue="q", created_at=NOW, deadline=NOW + 100)
STEPS = st.lists(st.sampled_from(["begin", "finish", "retry", "lose", "end", "again"]), max_size=12)


def lives(steps: list[str], pauses: random.Random) -> list[Job]:
    """The states that a job goes through, each step a while (or no time at all) after the one before."""
    job, now, states = JOB, NOW, [JOB]
    for step in steps:
        now += pauses.choice([0.0, 0.0, 1e-7, 0.5])
        job = _stepped(job, step, now)
        states.append(job)
    return states


def _stepped(job: Job, step: str, now: float) -> Job:
    last = job.attempts[-1] if job.attempts else None
    is_calling = last is not None and last.outcome is Outcome.RUNNING
    if step == "again" and job.is_terminal:
        return replace(job, status=Status.QUEUED, finished_at=None)
    if job.is_terminal:
        return job
    if step == "begin" and not is_calling:
        number = len(job.attempts) + 1
        begun = Attempt(job_id=job.id, number=number, fence=number, target="t", started_at=now)
        return replace(job, attempts=(*job.attempts, begun), status=Status.RUNNING, started_at=now)
    if step in {"finish", "retry", "lose"} and last is not None and is_calling:
        outcome = Outcome.UNKNOWN if step == "lose" else Outcome.TIMEOUT
        retry_at = now + 1 if step == "retry" else None
        ended = replace(last, outcome=outcome, finished_at=None if step == "lose" else now, retry_at=retry_at)
        return replace(job, attempts=(*job.attempts[:-1], ended), status=Status.QUEUED, due_at=now)
    if step == "end" and not is_calling:
        return replace(job, status=Status.CANCELLED, finished_at=now)
    return job


@given(STEPS, st.randoms(use_true_random=False))
def test_ids_grow_within_a_job(steps: list[str], pauses: random.Random) -> None:
    for job in lives(steps, pauses):
        ids = [event.id for event in events_of(job)]
        assert ids == sorted(set(ids))


@given(STEPS, st.randoms(use_true_random=False))
def test_what_was_told_stays_as_it_was_until_a_job_is_retried(steps: list[str], pauses: random.Random) -> None:
    states = lives(steps, pauses)
    for before, after in itertools.pairwise(states):
        told = [_named(event) for event in events_of(before) if not event.type.is_terminal]
        assert [_named(event) for event in events_of(after)][: len(told)] == told


@given(STEPS, st.randoms(use_true_random=False))
def test_a_second_end_has_a_later_id_where_time_has_passed(steps: list[str], pauses: random.Random) -> None:
    ends = [events_of(job)[-1] for job in lives(steps, pauses) if job.is_terminal]
    for before, after in itertools.pairwise(ends):
        assert after.id > before.id if after.at > before.at + 1e-6 else after.id >= before.id


def test_a_retry_tells_of_the_attempt_before_it() -> None:
    failed = Attempt(
        job_id="job_1",
        number=1,
        fence=1,
        target="t",
        started_at=NOW,
        outcome=Outcome.TIMEOUT,
        finished_at=NOW + 2,
        error="too slow",
        retry_at=NOW + 5,
    )
    events = events_of(replace(JOB, attempts=(failed,)))
    assert [event.type for event in events] == ["job.queued", "attempt.started", "attempt.finished", "job.retrying"]
    assert [event.attempt for event in events] == [None, failed, failed, failed]


def test_a_batchs_progress_counts_what_is_refused_and_in_the_end_what_was_never_sent() -> None:
    cursor = Cursor(total=10, refused=1)
    batch = replace(JOB, kind=BATCH, is_group=True, progress='{"version": 1, "total": 10, "refused": 1}')
    tally = Tally(live=2, succeeded=3, failed=1, cancelled=1)
    assert cursor.total == 10
    assert standing_of(batch, tally) == Standing(total=10, succeeded=3, failed=3)
    ended = replace(batch, status=Status.CANCELLED, finished_at=NOW + 1)
    assert standing_of(ended, tally) == Standing(total=10, succeeded=3, failed=7)


def test_a_groups_end_comes_after_all_its_progress() -> None:
    group = replace(JOB, is_group=True, started_at=NOW)
    ids = [events_of(group, Standing(total=9, succeeded=n, failed=0))[-1].id for n in range(10)]
    ended = replace(group, status=Status.SUCCEEDED, finished_at=NOW)
    end = events_of(ended, Standing(total=9, succeeded=9, failed=0))[-1]
    assert end.type is EventType.SUCCEEDED
    assert [*ids, end.id] == sorted({*ids, end.id})


def _named(event: JobEvent) -> tuple[int, EventType]:
    return event.id, event.type

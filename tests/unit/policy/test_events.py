"""Which event an end is, and which patterns name it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.batch import BATCH, MESSAGE_BATCH
from forebay.domain.job import ErrorCode, Job, JobError, Spec, Status
from forebay.domain.response import ResponseArgs, encode_args
from forebay.domain.webhook import Subject
from forebay.policy.deliveries import JITTER, LONGEST_ASKED_SECONDS, STEPS_SECONDS, wait_seconds
from forebay.policy.events import (
    EVENT_TYPES,
    event_id,
    event_type_of,
    is_pattern,
    matches,
    statuses_of,
    subject_id,
    subject_of,
)

ENDS = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


def job(kind: str = "infer", *, status: Status = Status.SUCCEEDED, code: str = "", args: str | None = None) -> Job:
    error = JobError(code=code, message="") if code else None
    return Job(
        id="job_1", kind=kind, queue="q", created_at=1, deadline=2, status=status, error=error, spec=Spec(args=args)
    )


BACKGROUND = job(args=encode_args(ResponseArgs(is_background=True)))


@pytest.mark.parametrize(
    ("owner", "subject"),
    [
        (job(), Subject.JOB),
        (job("fanout"), Subject.JOB),
        (job(BATCH), Subject.BATCH),
        (job(MESSAGE_BATCH), Subject.MESSAGE_BATCH),
        (BACKGROUND, Subject.RESPONSE),
        (job(args=encode_args(ResponseArgs(is_background=False))), Subject.JOB),
    ],
)
def test_the_kind_of_a_job_says_what_its_end_is_told_as(owner: Job, subject: Subject) -> None:
    assert subject_of(owner) is subject


@pytest.mark.parametrize(
    ("subject", "status", "code", "said", "expected"),
    [
        (Subject.JOB, Status.SUCCEEDED, "", None, "job.succeeded"),
        (Subject.JOB, Status.FAILED, ErrorCode.EXPIRED, None, "job.failed"),
        (Subject.JOB, Status.CANCELLED, "", None, "job.cancelled"),
        (Subject.BATCH, Status.SUCCEEDED, "", None, "batch.completed"),
        (Subject.BATCH, Status.FAILED, ErrorCode.EXPIRED, None, "batch.expired"),
        (Subject.MESSAGE_BATCH, Status.FAILED, ErrorCode.INVALID_INPUT, None, "batch.failed"),
        (Subject.BATCH, Status.CANCELLED, "", None, "batch.cancelled"),
        (Subject.RESPONSE, Status.SUCCEEDED, "", "completed", "response.completed"),
        (Subject.RESPONSE, Status.SUCCEEDED, "", "incomplete", "response.incomplete"),
        (Subject.RESPONSE, Status.SUCCEEDED, "", "failed", "response.failed"),
        (Subject.RESPONSE, Status.SUCCEEDED, "", None, "response.completed"),
        (Subject.RESPONSE, Status.FAILED, ErrorCode.TARGET_REJECTED, None, "response.failed"),
        (Subject.RESPONSE, Status.CANCELLED, "", None, "response.cancelled"),
    ],
)
def test_an_end_is_one_event(subject: Subject, status: Status, code: str, said: str | None, expected: str) -> None:
    assert event_type_of(subject, status, job(status=status, code=code), said) == expected


def test_an_owner_that_is_gone_or_runs_again_is_told_by_how_it_ended_then() -> None:
    assert event_type_of(Subject.JOB, Status.FAILED, None) == "job.failed"
    assert (
        event_type_of(Subject.BATCH, Status.FAILED, job(status=Status.QUEUED, code=ErrorCode.EXPIRED)) == "batch.failed"
    )


@pytest.mark.parametrize("subject", Subject)
@pytest.mark.parametrize("status", ENDS)
def test_every_event_there_is_may_be_asked_for(subject: Subject, status: Status) -> None:
    kind = event_type_of(subject, status, None)
    assert kind in EVENT_TYPES
    family = kind.partition(".")[0] + ".*"
    for pattern in (kind, family, "*"):
        assert is_pattern(pattern)
        assert matches((pattern,), kind)
        assert status in statuses_of(subject, (pattern,))


@given(st.text())
def test_what_names_no_event_of_ours_is_no_pattern(text: str) -> None:
    families = {"job.*", "batch.*", "response.*", "run.*", "*"}
    assert is_pattern(text) == (text in EVENT_TYPES or text in families)


def test_an_endpoint_that_hears_of_failures_costs_a_success_nothing() -> None:
    assert statuses_of(Subject.JOB, ("job.failed", "batch.*")) == (Status.FAILED,)
    assert statuses_of(Subject.JOB, ("batch.*",)) == ()
    assert statuses_of(Subject.BATCH, ("batch.expired",)) == (Status.FAILED,)
    assert statuses_of(Subject.RESPONSE, ("response.failed",)) == (Status.SUCCEEDED, Status.FAILED)
    assert statuses_of(Subject.JOB, ()) == ENDS


def test_an_event_names_a_job_as_its_wire_does() -> None:
    names = [subject_id(subject, "job_1") for subject in Subject]
    assert names == ["job_1", "batch_1", "msgbatch_1", "resp_1", "run_1"]


def test_an_event_has_one_id_and_another_end_another() -> None:
    assert event_id("job_1", 1.5) == event_id("job_1", 1.5)
    assert len({event_id("job_1", 1.5), event_id("job_2", 1.5), event_id("job_1", 2.5)}) == 3
    assert len(event_id("job_1", 1.5)) == len("evt_") + 26


@given(age=st.floats(0, 3 * 86_400), asked=st.none() | st.floats(0, 1e9), seed=st.integers())
def test_a_wait_is_a_step_of_the_schedule_and_never_shorter_than_asked(
    age: float, asked: float | None, seed: int
) -> None:
    wait = wait_seconds(age, random.Random(seed), retry_after=asked)
    assert wait >= min(asked or 0.0, LONGEST_ASKED_SECONDS)
    assert wait <= max(STEPS_SECONDS[-1] * (1 + JITTER), min(asked or 0.0, LONGEST_ASKED_SECONDS))


@given(st.integers())
def test_an_endpoint_that_is_away_for_three_days_is_asked_a_dozen_times_or_two(seed: int) -> None:
    chance, age, tries = random.Random(seed), 0.0, 0
    while age < 3 * 86_400:
        tries += 1
        age += wait_seconds(age, chance)
    assert 12 <= tries <= 25

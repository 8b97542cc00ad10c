"""The history checker sees each thing that must not be."""

from collections.abc import Callable

import pytest

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.content import Content
from forebay.domain.job import Job, Result, Status
from forebay.testing.history import History, LedgerLine, read_history, violations
from forebay.testing.targets import ScriptedTarget

from .conftest import OpenEngine


def attempt(job_id: str, number: int, fence: int, outcome: Outcome = Outcome.SUCCEEDED) -> Attempt:
    status_code = 200 if outcome is Outcome.SUCCEEDED else None
    return Attempt(
        job_id=job_id, number=number, fence=fence, target="t", started_at=0, outcome=outcome, status_code=status_code
    )


def job(job_id: str, *attempts: Attempt, has_result: bool = True) -> Job:
    result = Result(status_code=200, body=Content(text="{}")) if has_result else None
    return Job(
        id=job_id,
        kind="infer",
        queue="target:t",
        created_at=0,
        deadline=1,
        status=Status.SUCCEEDED,
        result=result,
        attempts=attempts,
    )


def right() -> History:
    """Two jobs, one of them called twice because a worker died, and a line that was taken over."""
    first = job("a", attempt("a", 1, 1, Outcome.UNKNOWN), attempt("a", 2, 3))
    line = LedgerLine(job_id="c", custom_id="line-1", attempts=(attempt("c", 1, 4),))
    history = History(jobs={"a": first, "b": job("b", attempt("b", 1, 2))}, ledgers={"batch": [line]})
    history.outputs = {"batch": ["line-1"]}
    return history


CALLS = {"a": 2, "b": 1, "c": 1}


def test_a_right_history_has_no_violations() -> None:
    assert violations(right(), accepted=["a", "b"], calls=CALLS) == []


def two_answers(history: History) -> None:
    history.ledgers["batch"] *= 2


def a_repeated_line(history: History) -> None:
    history.outputs["batch"] *= 2


def no_result(history: History) -> None:
    history.jobs["b"] = job("b", attempt("b", 1, 2), has_result=False)


def no_answer(history: History) -> None:
    history.jobs["b"] = job("b", attempt("b", 1, 2, Outcome.UNKNOWN))


def a_lost_job(history: History) -> None:
    del history.jobs["b"]


def a_missing_attempt(history: History) -> None:
    history.jobs["a"] = job("a", attempt("a", 2, 3))


def a_falling_fence(history: History) -> None:
    history.jobs["a"] = job("a", attempt("a", 1, 9, Outcome.UNKNOWN), attempt("a", 2, 3))


def a_shared_fence(history: History) -> None:
    history.jobs["b"] = job("b", attempt("b", 1, 3))


def an_endless_attempt(history: History) -> None:
    history.jobs["a"] = job("a", attempt("a", 1, 1, Outcome.RUNNING), attempt("a", 2, 3))


def a_row_left_behind(history: History) -> None:
    history.jobs["c"] = job("c", attempt("c", 1, 5))


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (two_answers, "taken over 2 times"),
        (a_repeated_line, "stands 2 times"),
        (no_result, "without a result"),
        (no_answer, "without an answered attempt"),
        (a_lost_job, "is gone"),
        (a_missing_attempt, "has attempts [2]"),
        (a_falling_fence, "do not grow"),
        (a_shared_fence, "was given to"),
        (an_endless_attempt, "never ended"),
        (a_row_left_behind, "still has a row"),
    ],
)
def test_it_says_what_is_wrong(plant: Callable[[History], None], said: str) -> None:
    history = right()
    plant(history)
    assert any(said in sentence for sentence in violations(history, accepted=["a", "b"]))


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ({**CALLS, "b": 2}, "called 2 times and has 1 attempts"),
        ({**CALLS, "c": 0}, "called 0 times and has 1 answers"),
        ({**CALLS, "x": 1}, "is not known"),
    ],
)
def test_it_holds_the_ledger_against_what_the_target_saw(calls: dict[str, int], said: str) -> None:
    assert any(said in sentence for sentence in violations(right(), calls=calls))


async def test_it_reads_what_a_store_remembers(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    ids = [await engine.submit() for _ in range(3)]
    await (await engine.worker()).run_until_idle()
    history = await read_history(engine.services.jobs, engine.services.blobs)
    assert violations(history, accepted=ids, calls=dict.fromkeys(ids, 1)) == []
    assert history.statuses() == {Status.SUCCEEDED: 3}
    assert history.outcomes() == {Outcome.SUCCEEDED: 3}

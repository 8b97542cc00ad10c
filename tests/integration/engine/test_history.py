"""The history checker sees each thing that must not be."""

from collections.abc import Callable

import msgspec
import pytest

from forebay.domain.attempt import Attempt, Outcome
from forebay.domain.content import Content
from forebay.domain.job import Job, JobError, Notice, Result, Status
from forebay.testing.calls import Calls, End, mismatches, told_apart
from forebay.testing.history import History, LedgerLine, read_history, violations
from forebay.testing.targets import ScriptedTarget
from forebay.testing.watching import Watcher

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
        finished_at=2.0,
        status=Status.SUCCEEDED,
        result=result,
        attempts=attempts,
    )


def right() -> History:
    """Two jobs, one of them called twice because a worker died, a line that was taken over, and a dead letter."""
    first = job("a", attempt("a", 1, 1, Outcome.UNKNOWN), attempt("a", 2, 3))
    line = LedgerLine(job_id="c", custom_id="line-1", attempts=(attempt("c", 1, 4),))
    refused = msgspec.structs.replace(
        job("d", msgspec.structs.replace(attempt("d", 1, 5, Outcome.REJECTED), status_code=422), has_result=False),
        status=Status.FAILED,
        error=JobError(code="target_rejected", message="no"),
    )
    history = History(jobs={"a": first, "b": job("b", attempt("b", 1, 2)), "d": refused}, ledgers={"batch": [line]})
    history.outputs = {"batch": ["line-1"]}
    return history


SEEN = {"a 1": "200", "a 2": "200", "b 1": "200", "c 1": "200", "d 1": "422"}


def test_a_right_history_has_no_violations() -> None:
    assert violations(right(), accepted=["a", "b"]) == []
    assert list(mismatches(right(), Calls(5, SEEN, {}))) == []


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


def a_notice_missing(history: History) -> None:
    notice = Notice(kind="notify", queue="notify:x")
    history.jobs["b"] = msgspec.structs.replace(history.jobs["b"], on_end=(notice,))


def a_notice_too_early(history: History) -> None:
    a_notice_missing(history)
    history.jobs["b"] = msgspec.structs.replace(history.jobs["b"], status=Status.QUEUED, finished_at=None)
    history.jobs["n"] = msgspec.structs.replace(job("n", attempt("n", 1, 8)), key="end:b:0")


def an_end_without_its_time(history: History) -> None:
    history.jobs["b"] = msgspec.structs.replace(history.jobs["b"], finished_at=None)


def a_success_with_an_error(history: History) -> None:
    history.jobs["b"] = msgspec.structs.replace(history.jobs["b"], error=history.jobs["d"].error)


def a_failure_without_an_error(history: History) -> None:
    history.jobs["d"] = msgspec.structs.replace(history.jobs["d"], error=None)


def an_orphan(history: History) -> None:
    history.jobs["b"] = msgspec.structs.replace(history.jobs["b"], parent_id="gone")


def a_child_that_outlives_its_parent(history: History) -> None:
    history.jobs["b"] = msgspec.structs.replace(
        history.jobs["b"], parent_id="a", status=Status.QUEUED, finished_at=None
    )


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (a_notice_missing, "has its notice 0 0 times"),
        (a_notice_too_early, "has its notice 0 1 times"),
        (an_end_without_its_time, "ended at None"),
        (a_success_with_an_error, "succeeded with the error"),
        (a_failure_without_an_error, "failed without an error"),
        (an_orphan, "which is gone"),
        (a_child_that_outlives_its_parent, "has ended"),
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
    ("by_call", "said"),
    [
        ({**SEEN, "b 2": "200"}, "not in the ledger"),
        ({**SEEN, "c 1": None}, "was never seen"),
        ({**SEEN, "x 1": "200"}, "not in the ledger"),
        ({**SEEN, "b 1": "500"}, "ended as '500'"),
        ({**SEEN, "b 1": "aborted"}, "ended as 'aborted'"),
        ({**SEEN, "d 1": "500"}, "was answered '500'"),
        ({**SEEN, "d 1": "hang"}, "was never answered"),
    ],
)
def test_it_holds_the_ledger_against_what_the_target_saw(by_call: dict[str, str | None], said: str) -> None:
    seen = {name: end for name, end in by_call.items() if end is not None}
    assert any(said in sentence for sentence in mismatches(right(), Calls(len(seen), seen, {})))


def test_a_call_sent_twice_under_one_attempt_is_told() -> None:
    assert any("sent 2 times" in sentence for sentence in mismatches(right(), Calls(5, SEEN, {"b 1": 1})))


def test_a_call_without_a_name_is_missed() -> None:
    assert any(
        "6 calls were seen and the ledger has 5" in sentence for sentence in mismatches(right(), Calls(6, SEEN, {}))
    )


def test_calls_are_told_apart() -> None:
    history = right()
    history.jobs["e"] = job("e", attempt("e", 1, 6, Outcome.UNKNOWN), attempt("e", 2, 7))
    seen = {**SEEN, "e 2": "200"}
    expected = {End.ANSWERED: 4, End.FAILED: 1, End.UNKNOWN: 1, End.UNSENT: 1}
    assert told_apart(history, Calls(6, seen, {})) == expected


def test_what_was_said_once_must_stay_said() -> None:
    def changed(history: History) -> None:
        history.jobs["b"] = msgspec.structs.replace(history.jobs["b"], finished_at=3.0)

    for plant, said in (
        (changed, "had ended as"),
        (a_lost_job, "had ended (succeeded) and is gone"),
        (lambda history: history.outputs["batch"].insert(0, "line-0"), "output of batch changed"),
        (lambda history: history.ledgers["batch"].clear(), "ledger of batch changed"),
    ):
        watcher = Watcher()
        watcher.see(right())
        watcher.see(right())
        assert watcher.broken == []
        later = right()
        plant(later)
        watcher.see(later)
        assert any(said in sentence for sentence in watcher.broken), said


def test_a_line_that_was_taken_over_is_not_missed_and_a_retried_failure_may_change() -> None:
    watcher = Watcher(is_retried=True)
    history = right()
    history.jobs["c"] = msgspec.structs.replace(job("c", attempt("c", 1, 4)), parent_id="batch")
    history.ledgers["batch"].clear()
    watcher.see(history)
    watcher.see(right())
    assert watcher.broken == []


async def test_it_reads_what_a_store_remembers(open_engine: OpenEngine) -> None:
    engine = await open_engine(ScriptedTarget("t"))
    ids = [await engine.submit() for _ in range(3)]
    await (await engine.worker()).run_until_idle()
    history = await read_history(engine.services.jobs, engine.services.blobs)
    assert violations(history, accepted=ids) == []
    assert history.statuses() == {Status.SUCCEEDED: 3}
    assert history.outcomes() == {Outcome.SUCCEEDED: 3}

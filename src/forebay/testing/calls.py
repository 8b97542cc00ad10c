"""Calls that a mock model saw, held against the ledger one by one: by job and attempt, which every call carries.

Calls at the mock = attempts in the ledger, told apart as answered, failed, and unknown (nobody heard the end); the rest
of the ledger are attempts that were never sent.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from forebay.domain.attempt import Attempt, Outcome
from forebay.testing.history import History
from forebay.testing.mock_model.counters import UNDER_WAY

WELL = "200"
CUT = frozenset({"aborted", "hang", UNDER_WAY})  # the client went away before it was answered


class End(StrEnum):
    """What became of an attempt, by both books."""

    ANSWERED = "answered"  # and written
    FAILED = "failed"  # by design of the mock, or cut off by the caller, and written as such
    UNKNOWN = "unknown"  # the mock saw it, and whoever sent it never wrote how it ended
    UNSENT = "unsent"  # begun, and nothing left


class Calls(NamedTuple):
    """What a mock model saw. ``by_call``: its own word for the end of each ``<job id> <attempt>``."""

    total: int
    by_call: Mapping[str, str]
    repeated: Mapping[str, int]

    @classmethod
    def of(cls, counted: Mapping[str, Any]) -> "Calls":
        """Reads ``GET /mock/calls?ids=1``."""
        return cls(counted["total"], counted["by_call"], counted["repeated"])


def told_apart(history: History, calls: Calls) -> Counter[End]:
    """The attempts of the ledger by what became of them; without ``unsent`` they are as many as the calls."""
    return Counter(end_of(attempt, calls.by_call.get(name)) for name, attempt in _ledger(history).items())


def end_of(attempt: Attempt, seen: str | None) -> End:
    """What became of the attempt. ``seen``: the mock's word for it, None if it saw none."""
    if seen is None:
        return End.UNSENT
    if attempt.outcome is Outcome.SUCCEEDED:
        return End.ANSWERED
    return End.UNKNOWN if attempt.outcome in {Outcome.UNKNOWN, Outcome.RUNNING} else End.FAILED


def mismatches(history: History, calls: Calls, *, is_over: bool = True) -> Iterator[str]:
    """What the two books don't say alike. ``is_over`` False: calls go on, and some may not be written yet."""
    ledger = _ledger(history)
    for name, times in calls.repeated.items():
        yield f"attempt {name!r} was sent {times + 1} times"
    for name, seen in calls.by_call.items():
        if name not in ledger:
            yield f"call {name!r} ({seen}) is not in the ledger"
    for name, attempt in ledger.items():
        if fault := _fault(attempt, calls.by_call.get(name)):
            yield f"attempt {name!r} is {attempt.outcome}, status {attempt.status_code}, and {fault}"
    if is_over and not any(calls.repeated.values()):
        apart = told_apart(history, calls)
        if (seen_here := apart.total() - apart[End.UNSENT]) != calls.total:
            yield f"{calls.total} calls were seen and the ledger has {seen_here}"


def _fault(attempt: Attempt, seen: str | None) -> str | None:
    """Why the attempt can't be as it is, if it can't."""
    is_heard = attempt.outcome is Outcome.SUCCEEDED or attempt.status_code is not None
    if seen is None:
        return "was never seen" if is_heard else None
    if attempt.outcome is Outcome.SUCCEEDED and seen != WELL:
        return f"ended as {seen!r} at the target"
    if is_heard and seen in CUT:
        return "was never answered"
    status = seen.partition(" ")[0]
    if is_heard and status.isdigit() and attempt.status_code != int(status):
        return f"was answered {seen!r}"
    return None


def _ledger(history: History) -> dict[str, Attempt]:
    return {f"{job_id} {attempt.number}": attempt for job_id, attempts in history.attempts() for attempt in attempts}

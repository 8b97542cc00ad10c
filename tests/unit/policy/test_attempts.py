"""What counts as an attempt: the table of the reference, row by row."""

import pytest

from forebay.domain.attempt import Outcome
from forebay.domain.errors import (
    TargetError,
    TargetFailed,
    TargetRejected,
    TargetThrottled,
    TargetTimeout,
    TargetUnavailable,
)
from forebay.domain.job import ErrorCode
from forebay.policy.attempts import judge


@pytest.mark.parametrize(
    ("error", "outcome", "code", "is_counted", "is_final"),
    [
        (TargetThrottled("429", status_code=429), Outcome.THROTTLED, ErrorCode.TARGET_UNAVAILABLE, False, False),
        (TargetUnavailable("503", status_code=503), Outcome.UNAVAILABLE, ErrorCode.TARGET_UNAVAILABLE, False, False),
        (TargetUnavailable("refused"), Outcome.UNAVAILABLE, ErrorCode.TARGET_UNAVAILABLE, False, False),
        (TargetTimeout("late"), Outcome.TIMEOUT, ErrorCode.TARGET_TIMEOUT, True, False),
        (TargetFailed("500", status_code=500), Outcome.UNAVAILABLE, ErrorCode.TARGET_UNAVAILABLE, True, False),
        (TargetFailed("409", status_code=409), Outcome.UNAVAILABLE, ErrorCode.TARGET_UNAVAILABLE, True, False),
        (TargetFailed("reset"), Outcome.UNAVAILABLE, ErrorCode.TARGET_UNAVAILABLE, True, False),
        (TargetFailed("cut", status_code=200), Outcome.INVALID_OUTPUT, ErrorCode.INVALID_OUTPUT, True, False),
        (TargetRejected("400", status_code=400), Outcome.REJECTED, ErrorCode.TARGET_REJECTED, True, True),
        (TargetError("another"), Outcome.UNAVAILABLE, ErrorCode.TARGET_UNAVAILABLE, True, False),
    ],
    ids=lambda value: str(value),
)
def test_each_failure_is_judged_as_the_reference_says(
    error: TargetError, outcome: Outcome, code: ErrorCode, is_counted: bool, is_final: bool
) -> None:
    judgement = judge(error)
    assert (judgement.outcome, judgement.code) == (outcome, code)
    assert (judgement.is_counted, judgement.is_final) == (is_counted, is_final)

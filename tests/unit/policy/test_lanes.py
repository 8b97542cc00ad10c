"""A lane's state: pauses, the breaker, and what they mean for slots and failover."""

import random

from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.attempt import Outcome
from forebay.policy.lanes import LaneState, block_size
from forebay.policy.rate_headers import RateHints

NOW = 1000.0


def lane(known: int | None = 10) -> LaneState:
    return LaneState(known, random.Random(1))


def fail(state: LaneState, times: int, now: float = NOW, in_flight: int = 1) -> None:
    for _ in range(times):
        state.record(Outcome.UNAVAILABLE, latency_seconds=0.0, now=now, in_flight=in_flight)


def test_a_lane_with_known_concurrency_starts_with_all_of_it() -> None:
    assert lane(10).free_slots(NOW, 0) == 10
    assert lane(10).free_slots(NOW, 7) == 3
    assert lane(10).free_slots(NOW, 12) == 0


def test_retry_after_pauses_the_lane_for_so_long() -> None:
    state = lane()
    state.record(Outcome.THROTTLED, latency_seconds=0.1, now=NOW, in_flight=1, status_code=429, retry_after=3.0)
    assert state.free_slots(NOW + 2.9, 0) == 0
    assert state.resume_at(NOW) == NOW + 3.0
    assert state.free_slots(NOW + 3.0, 0) >= 1
    assert state.available(NOW)


def test_a_pause_longer_than_the_bound_is_a_reason_to_fail_over_and_a_short_one_is_not() -> None:
    state = lane()
    state.record(Outcome.THROTTLED, latency_seconds=0.1, now=NOW, in_flight=1, status_code=429, retry_after=3.0)
    assert not state.is_throttled_longer_than(5, NOW)
    state.record(Outcome.THROTTLED, latency_seconds=0.1, now=NOW, in_flight=1, status_code=429, retry_after=30.0)
    assert state.is_throttled_longer_than(5, NOW)


def test_a_lane_throttled_again_and_again_is_a_reason_to_fail_over_until_it_answers() -> None:
    state = lane()
    for second in range(7):
        state.record(Outcome.THROTTLED, latency_seconds=0.1, now=NOW + second, in_flight=1, retry_after=1.0)
    assert state.is_throttled_longer_than(5, NOW + 6)
    state.record(Outcome.SUCCEEDED, latency_seconds=0.1, now=NOW + 60, in_flight=1)
    assert not state.is_throttled_longer_than(5, NOW + 60)


def test_a_lane_that_was_throttled_and_then_sent_nothing_is_a_reason_to_fail_over_no_more() -> None:
    state = lane()
    for second in range(7):
        state.record(Outcome.THROTTLED, latency_seconds=0.1, now=NOW + second, in_flight=1, retry_after=1.0)
    assert not state.is_throttled_longer_than(5, NOW + 120)
    state.record(Outcome.THROTTLED, latency_seconds=0.1, now=NOW + 120, in_flight=1, retry_after=1.0)
    assert state.is_throttled_longer_than(5, NOW + 120)


def test_a_dead_target_takes_nothing_until_one_probe_shows_that_it_lives() -> None:
    state = lane()
    fail(state, 5)
    assert state.free_slots(NOW, 0) == 0
    assert not state.available(NOW)
    probe_at = state.resume_at(NOW)
    assert probe_at is not None
    assert state.available(probe_at)
    assert state.free_slots(probe_at, 0) == 1
    assert state.free_slots(probe_at, 1) == 0
    assert not state.available(probe_at)
    state.record(Outcome.SUCCEEDED, latency_seconds=0.1, now=probe_at + 0.1, in_flight=1)
    assert state.free_slots(probe_at + 0.1, 0) > 1


def test_calls_that_hang_since_before_the_failure_do_not_block_the_probe() -> None:
    state = lane(64)
    fail(state, 5, in_flight=8)
    probe_at = state.resume_at(NOW)
    assert probe_at is not None
    assert state.free_slots(probe_at, 7) == 1


def test_a_rejected_request_says_that_the_target_works() -> None:
    state = lane()
    fail(state, 4)
    state.record(Outcome.REJECTED, latency_seconds=0.0, now=NOW, in_flight=1, status_code=400)
    fail(state, 4)
    assert state.available(NOW)


def test_a_cancelled_call_says_nothing() -> None:
    state = lane()
    fail(state, 4)
    state.record(Outcome.CANCELLED, latency_seconds=1.0, now=NOW, in_flight=1)
    fail(state, 1)
    assert not state.available(NOW)


def test_an_empty_allowance_pauses_until_its_first_piece_is_back() -> None:
    state = lane()
    hints = RateHints(limit_requests=60, remaining_requests=0, reset_requests_seconds=60)
    state.record(Outcome.SUCCEEDED, latency_seconds=0.1, now=NOW, in_flight=1, hints=hints)
    assert state.free_slots(NOW + 0.9, 0) == 0
    assert state.free_slots(NOW + 1.0, 0) > 0


@given(per_second=st.floats(0, 1e6))
def test_a_block_is_a_tenth_of_a_second_of_work_and_at_least_one(per_second: float) -> None:
    assert block_size(per_second) == max(1.0, per_second * 0.1)


OUTCOMES = st.sampled_from(list(Outcome))


@given(
    events=st.lists(
        st.tuples(
            OUTCOMES, st.floats(0, 20), st.floats(0, 30), st.sampled_from([None, 429, 500, 503]), st.floats(0, 60)
        ),
        max_size=60,
    ),
    in_flight=st.integers(0, 50),
)
def test_a_lane_never_gives_more_than_its_limit_and_never_stands_still_for_ever(
    events: list[tuple[Outcome, float, float, int | None, float]], in_flight: int
) -> None:
    state = lane(10)
    now = NOW
    for outcome, wait, latency, status, retry_after in events:
        now += wait
        state.record(
            outcome, latency_seconds=latency, now=now, in_flight=3, status_code=status, retry_after=retry_after
        )
        assert 0 <= state.free_slots(now, in_flight) <= max(0, 10 - in_flight)
    assert state.free_slots(now + 3600, 0) >= 1

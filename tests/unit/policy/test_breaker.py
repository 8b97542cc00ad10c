"""The circuit breaker: it opens on failures in a row, probes one at a time, and pauses longer each time."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.breaker import LONGEST_PAUSE_SECONDS, Breaker


def opened(now: float = 100.0, in_flight: int = 1) -> Breaker:
    breaker = Breaker(random.Random(1))
    for _ in range(5):
        breaker.failed(now, sent_at=now, in_flight=in_flight, is_refused=True)
    return breaker


def test_five_refused_connections_in_a_row_open_it() -> None:
    breaker = Breaker(random.Random(1))
    for _ in range(4):
        breaker.failed(100.0, sent_at=99.0, is_refused=True)
    assert not breaker.is_open(100.0)
    breaker.failed(100.0, sent_at=99.0, is_refused=True)
    assert breaker.is_open(100.0)


def test_server_errors_need_ten_in_a_row() -> None:
    breaker = Breaker(random.Random(1))
    for _ in range(9):
        breaker.failed(100.0, sent_at=99.0)
    assert not breaker.is_open(100.0)
    breaker.failed(100.0, sent_at=99.0)
    assert breaker.is_open(100.0)


def test_a_success_between_keeps_it_closed() -> None:
    breaker = Breaker(random.Random(1))
    for _ in range(100):
        breaker.failed(100.0, sent_at=99.0, is_refused=True)
        breaker.succeeded()
    assert breaker.retry_at is None


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    assert breaker.retry_at is not None
    assert breaker.is_half_open(breaker.retry_at)
    breaker.succeeded()
    assert not breaker.is_open(101.0)
    assert not breaker.is_half_open(1000.0)


def test_each_failed_probe_lengthens_the_pause_up_to_a_bound() -> None:
    breaker = opened()
    pauses = []
    for _ in range(10):
        now = breaker.retry_at or 0.0
        breaker.failed(now, sent_at=now)
        pauses.append((breaker.retry_at or 0.0) - now)
    assert pauses[0] > 1.5
    assert all(later > earlier * 1.2 for earlier, later in pairwise(pauses[:4]))
    assert 0.8 * LONGEST_PAUSE_SECONDS <= pauses[-1] <= 1.2 * LONGEST_PAUSE_SECONDS


def test_calls_sent_before_it_opened_do_not_lengthen_its_pause_nor_count_as_probes() -> None:
    breaker = opened(now=100.0, in_flight=64)
    retry_at = breaker.retry_at
    assert retry_at is not None
    assert breaker.probes_out(63) == 0
    for _ in range(13):
        breaker.failed(retry_at + 1, sent_at=99.0)
    assert breaker.retry_at == retry_at
    assert breaker.probes_out(50) == 0
    assert breaker.probes_out(51) == 1


@given(events=st.lists(st.tuples(st.booleans(), st.floats(0, 50), st.floats(0, 50), st.booleans()), max_size=100))
def test_it_never_pauses_longer_than_its_bound_and_always_comes_to_a_probe(
    events: list[tuple[bool, float, float, bool]],
) -> None:
    breaker = Breaker(random.Random(3))
    now = 1000.0
    for is_success, wait, latency, is_refused in events:
        now += wait
        if is_success:
            breaker.succeeded()
        else:
            breaker.failed(now, sent_at=now - latency, is_refused=is_refused)
        assert (breaker.retry_at or now) - now <= 1.2 * LONGEST_PAUSE_SECONDS
        assert not (breaker.is_open(now) and breaker.is_half_open(now))
        assert breaker.probes_out(5) <= 5

"""Several workers on one target: they share what it allows, and what each of them has learned of it."""

import random

import pytest

from forebay.domain.attempt import Outcome
from forebay.domain.lesson import Lesson
from forebay.policy.lanes import LaneState
from forebay.policy.rate_headers import RateHints

from .crowd import Crowd, Wall
from .simulation import START

WORKERS = 4


def _crowd(
    wall: Wall, latency_seconds: float, *, is_told: bool = False, retry_after: float | None = None, seed: int = 5
) -> Crowd:
    crowd = Crowd(wall, latency_seconds, is_told=is_told, retry_after=retry_after, chance=random.Random(seed))
    for number in range(WORKERS):
        crowd.join(LaneState(None, random.Random(100 * seed + number)))
    return crowd


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("latency_seconds", [0.05, 0.2, 0.5])
def test_four_workers_find_a_ceiling_that_is_all_of_theirs(latency_seconds: float, retry_after: float | None) -> None:
    crowd = _crowd(Wall(room=37), latency_seconds, retry_after=retry_after)
    crowd.run(60)
    assert crowd.served.rate(20, 30) >= 0.9 * 37 / latency_seconds
    assert crowd.served.rate(30, 60) >= 0.9 * 37 / latency_seconds
    assert crowd.served.refused_share(0, 60) < 0.02


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("latency_seconds", [0.05, 0.2, 0.5])
def test_four_workers_use_a_ceiling_up_whenever_each_of_them_met_it(
    latency_seconds: float, retry_after: float | None, seed: int
) -> None:
    crowd = _crowd(Wall(room=37), latency_seconds, retry_after=retry_after, seed=seed)
    crowd.run(40)
    crowd.wall.room = 12
    crowd.run(60)
    assert crowd.served.rate(10, 40) >= 0.9 * 37 / latency_seconds
    assert crowd.served.rate(50, 100) >= 0.88 * 12 / latency_seconds
    assert crowd.served.refused_share(0, 40) < 0.01
    assert crowd.served.refused_share(45, 100) < 0.02


def test_each_worker_has_the_same_share_in_the_end() -> None:
    crowd = _crowd(Wall(room=37), 0.2)
    crowd.run(60)
    assert max(one.lane.limit for one in crowd.members) - min(one.lane.limit for one in crowd.members) <= 1


@pytest.mark.parametrize("latency_seconds", [0.05, 0.5])
def test_the_others_take_a_dead_worker_s_share(latency_seconds: float) -> None:
    crowd = _crowd(Wall(room=37), latency_seconds)
    crowd.run(60)
    crowd.kill(crowd.members[0])
    crowd.run(30)
    assert crowd.served.rate(70, 90) >= 0.9 * 37 / latency_seconds
    assert crowd.served.refused_share(60, 90) < 0.02


def test_a_worker_that_comes_later_gets_its_share() -> None:
    crowd = Crowd(Wall(room=37), 0.2)
    crowd.join(LaneState(None, random.Random(1)))
    crowd.run(30)
    late = crowd.join(LaneState(None, random.Random(2)))
    crowd.run(30)
    assert late.served.rate(50, 60) >= 0.4 * crowd.served.rate(50, 60)
    assert crowd.served.rate(40, 60) >= 0.9 * 37 / 0.2
    assert crowd.served.refused_share(30, 60) < 0.02


@pytest.mark.parametrize("latency_seconds", [0.05, 0.2])
def test_four_workers_share_a_rate_that_headers_tell(latency_seconds: float) -> None:
    crowd = _crowd(Wall(per_minute=600), latency_seconds, is_told=True, retry_after=0.1)
    crowd.run(90)
    assert crowd.served.rate(30, 90) >= 0.95 * 10
    assert crowd.served.refused_share(30, 90) < 0.02


def test_four_workers_share_a_rate_that_nobody_tells() -> None:
    crowd = _crowd(Wall(per_minute=600), 0.2, retry_after=0.1)
    crowd.run(120)
    assert crowd.served.rate(60, 120) >= 0.85 * 10
    assert crowd.served.refused_share(60, 120) < 0.02


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("workers", [1, WORKERS])
def test_a_rate_whose_refusals_ask_to_wait_is_not_taken_for_chance(workers: int, seed: int) -> None:
    crowd = Crowd(Wall(per_minute=600), 0.2, retry_after=1.0, chance=random.Random(seed))
    for number in range(workers):
        crowd.join(LaneState(None, random.Random(100 * seed + number)))
    crowd.run(120)
    assert crowd.served.rate(10, 60) >= 0.75 * 10
    assert crowd.served.refused_share(10, 120) < 0.02


def test_a_short_pause_is_over_before_the_others_could_hear_of_it() -> None:
    lane = LaneState(None, random.Random(1))
    lane.free_slots(START, 0)
    lane.sent()
    lane.record(Outcome.THROTTLED, latency_seconds=0.1, now=START, status_code=429, retry_after=1.0)
    assert lane.free_slots(START + 0.5, 0) == 0
    assert lane.lesson("t", "a", START).pause_seconds == 0


@pytest.mark.parametrize(("since_seconds", "share"), [(60.0, 1.0), (1.0, 0.5)])
def test_only_who_came_after_a_ceiling_was_found_takes_a_part_of_it(since_seconds: float, share: float) -> None:
    crowd = Crowd(Wall(room=37), 0.2)
    lane = crowd.join(LaneState(None, random.Random(1))).lane
    crowd.run(30)
    found = lane.limit
    lane.hear("a", [Lesson(target="t", teller="b", since_seconds=since_seconds)], crowd.now)
    assert lane.limit == pytest.approx(found * share, abs=1)


def test_a_pause_is_heard_but_not_told_again() -> None:
    refused, other = LaneState(None, random.Random(1)), LaneState(None, random.Random(2))
    refused.free_slots(START, 0)
    refused.sent()
    refused.record(Outcome.THROTTLED, latency_seconds=0.1, now=START, status_code=429, retry_after=20.0)
    lesson = refused.lesson("t", "a", START)
    assert lesson.pause_seconds == pytest.approx(20, abs=1)
    other.hear("b", [lesson], START + 1)
    assert other.free_slots(START + 2, 0) == 0
    assert other.resume_at(START + 2) == pytest.approx(START + 1 + lesson.pause_seconds)
    assert other.lesson("t", "b", START + 2).pause_seconds == 0


def test_what_remains_until_the_reset_is_shared() -> None:
    lane = LaneState(100, random.Random(1))
    lane.hear("a", [Lesson(target="t", teller=name) for name in "abcd"], START)
    lane.free_slots(START, 1)
    hints = RateHints(limit_requests=100, remaining_requests=40, reset_requests_seconds=30)
    lane.record(Outcome.SUCCEEDED, latency_seconds=0.1, now=START, in_flight=0, hints=hints)
    assert lane.free_slots(START, 0) == pytest.approx(10, abs=1)


def test_a_learned_rate_is_one_for_all() -> None:
    lane = LaneState(None, random.Random(1))
    lane.hear(
        "b", [Lesson(target="t", teller="a", cause="rate", per_second=10.0), Lesson(target="t", teller="b")], START
    )
    assert lane.lesson("t", "b", START).per_second == pytest.approx(10.0)
    for _ in range(lane.free_slots(START + 1, 0)):
        lane.sent()
    sent = 0
    for tenth in range(1, 101):
        slots = lane.free_slots(START + 1 + tenth / 10, 0)
        sent += slots
        for _ in range(slots):
            lane.sent()
    assert sent == pytest.approx(50, abs=2)


def test_the_first_worker_lowers_the_pace_for_what_the_others_were_refused() -> None:
    lane = LaneState(None, random.Random(1))
    lane.hear("b", [Lesson(target="t", teller="a", cause="rate", per_second=10.0)], START)
    lane.hear("b", [Lesson(target="t", teller="c", cause="rate", refused_share=0.4, per_second=10.0)], START + 5)
    assert lane.lesson("t", "b", START + 5).per_second == pytest.approx(10 * 0.8, rel=0.05)


def test_random_refusals_do_not_stop_four_workers() -> None:
    crowd = _crowd(Wall(room=37, noise=0.02), 0.5)
    crowd.run(120)
    assert crowd.served.rate(60, 120) >= 0.85 * 37 / 0.5


@pytest.mark.parametrize("retry_after", [None, 1.0])
def test_four_workers_find_a_ceiling_that_has_moved_to_12(retry_after: float | None) -> None:
    crowd = _crowd(Wall(room=37), 0.5, retry_after=retry_after)
    crowd.run(30)
    crowd.wall.room = 12
    crowd.run(60)
    assert crowd.served.rate(60, 90) >= 0.85 * 12 / 0.5
    assert crowd.served.refused_share(60, 90) < 0.02

"""The vigil: who is late is watched for a while before it is taken for dead."""

from forebay.domain.change import Worker
from forebay.policy.vigil import Vigil

YEAR = 365 * 86_400.0


class Steady:
    """A clock that nobody sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def _worker(name: str, heartbeat_at: float) -> Worker:
    return Worker(id=name, lease_seconds=2, heartbeat_at=heartbeat_at)


def _dead(vigil: Vigil, steady: Steady, beat: float, now: float, *, seconds: float = 1) -> list[str]:
    """Looks so many seconds after the last look."""
    steady.seconds += seconds
    return vigil.dead([_worker("worker_1", beat)], now)


def test_a_heartbeat_that_stands_still_through_the_whole_watch_is_a_dead_workers() -> None:
    vigil = Vigil(5, steady := Steady())
    assert [_dead(vigil, steady, 0, 10 + second) for second in range(6)] == [[], [], [], [], [], ["worker_1"]]


def test_who_was_watched_while_the_lease_ran_is_dead_when_it_has_run_out() -> None:
    vigil = Vigil(5, steady := Steady())
    worker = Worker(id="worker_1", lease_seconds=30, heartbeat_at=0)
    found = []
    for second in range(40):
        steady.seconds = second
        found.append(bool(vigil.dead([worker], second)))
    assert found.index(True) == 31


def test_without_patience_the_wall_clock_alone_decides() -> None:
    vigil = Vigil(0, steady := Steady())
    assert _dead(vigil, steady, 0, 2) == []
    assert _dead(vigil, steady, 0, 2.1) == ["worker_1"]


def test_a_clock_that_is_set_on_and_back_and_on_buries_nobody_whose_heart_beats() -> None:
    vigil = Vigil(5, steady := Steady())
    for second in range(30):
        wrong = YEAR if second % 7 < 4 else 0.0
        was_wrong = YEAR if (second - 1) % 7 < 4 else 0.0
        assert _dead(vigil, steady, second - 1 + was_wrong, second + wrong) == []


def test_a_worker_that_was_watched_and_came_back_is_watched_from_the_beginning() -> None:
    vigil = Vigil(5, steady := Steady())
    for _ in range(4):
        assert _dead(vigil, steady, 0, 10) == []
    assert _dead(vigil, steady, 9, 10) == []
    for _ in range(4):
        assert _dead(vigil, steady, 9, 20) == []
    assert _dead(vigil, steady, 9, 20) == ["worker_1"]


def test_the_first_look_after_an_outage_of_the_store_buries_nobody() -> None:
    vigil = Vigil(5, steady := Steady())
    assert _dead(vigil, steady, 0, 10) == []
    assert _dead(vigil, steady, 0, 70, seconds=60) == []
    assert _dead(vigil, steady, 71, 71) == []

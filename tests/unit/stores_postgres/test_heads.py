"""Where claims begin to look: never above what may still be there, and the whole queue again and again."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from forebay.stores.postgres.heads import (
    LAG_SECONDS,
    MOST_URGENCIES,
    WHOLE,
    WHOLE_SECONDS,
    WHOLE_SHARE,
    Heads,
    Position,
    Span,
    Take,
)

positions = st.tuples(st.integers(-1003, 3), st.floats(0, 50), st.sampled_from(["job_a", "job_b"]))


class Watch:
    """A monotonic clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.heads = Heads(lambda: self.now)

    def learn(self, *found: Position, is_full: bool = False, seconds: float = 0.0) -> None:
        is_whole = self.heads.spans("q") is WHOLE
        self.heads.learn([Take("q", sorted(found), is_whole, is_full, seconds)], {})

    @property
    def is_whole(self) -> bool:
        return self.heads.spans("q") is WHOLE


def is_seen(position: Position, spans: list[Span]) -> bool:
    return any(span[:3] < position and position[0] < span.below for span in spans)


def test_a_queue_of_which_nothing_is_known_is_looked_at_as_a_whole() -> None:
    assert Watch().is_whole


def test_a_claim_begins_where_claims_had_come_to_a_lag_ago() -> None:
    watch = Watch()
    watch.learn((0, 5.0, "a"))
    assert is_seen((0, 1.0, "z"), list(watch.heads.spans("q")))  # its rank may have been taken before, its commit not
    watch.now += LAG_SECONDS
    spans = list(watch.heads.spans("q"))
    assert not is_seen((0, 5.0, "a"), spans)
    assert is_seen((0, 5.0, "b"), spans)


def test_newer_claims_do_not_move_the_beginning_before_their_lag_is_over() -> None:
    watch = Watch()
    watch.learn((0, 5.0, "a"))
    watch.now += LAG_SECONDS
    watch.learn((0, 9.0, "a"))
    assert is_seen((0, 7.0, "a"), list(watch.heads.spans("q")))
    assert not is_seen((0, 5.0, "a"), list(watch.heads.spans("q")))


def test_the_whole_queue_is_looked_at_every_so_often_and_less_often_when_that_takes_long() -> None:
    for seconds in (0.0, 1.0):
        watch = Watch()
        watch.learn(seconds=seconds)
        pause = max(WHOLE_SECONDS, seconds / WHOLE_SHARE)
        watch.now += pause * 0.99
        assert not watch.is_whole
        watch.now += pause * 0.02
        assert watch.is_whole


def test_a_whole_look_that_was_full_too_early_goes_on() -> None:
    watch = Watch()
    watch.learn((0, 5.0, "a"))
    watch.now += LAG_SECONDS
    watch.learn((0, 6.0, "a"))
    watch.now += WHOLE_SECONDS
    watch.learn((0, 1.0, "a"), is_full=True)
    assert watch.is_whole
    watch.learn((0, 2.0, "a"))
    assert not watch.is_whole


def test_many_urgencies_are_forgotten_rather_than_asked_for() -> None:
    watch = Watch()
    watch.learn(*[(urgency, 1.0, "a") for urgency in range(MOST_URGENCIES + 1)])
    watch.now += LAG_SECONDS
    assert list(watch.heads.spans("q")) == list(WHOLE)


@given(st.lists(st.lists(positions, min_size=1, max_size=4), max_size=6), positions)
def test_every_place_is_looked_at_but_those_below_a_claim_of_their_urgency(
    takes: list[list[Position]], place: Position
) -> None:
    watch = Watch()
    watch.learn()
    for found in takes:
        watch.heads.learn([Take("q", found, False, False, 0.0)], {})
        watch.now += LAG_SECONDS / 4
    spans = list(watch.heads.spans("q"))
    below = [found for found in chain.from_iterable(takes) if found[0] == place[0] and found >= place]
    assert below or is_seen(place, spans)
    assert sum(is_seen(place, [span]) for span in spans) <= 1

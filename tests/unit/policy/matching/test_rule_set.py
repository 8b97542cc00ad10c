"""Many rules at once are matched as each of them alone."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.matching import EventPattern, RuleSet
from forebay.policy.matching.intervals import Interval, Intervals

from .vectors import cases

TEXTS = st.text("abAB*1.", max_size=4)
NUMBERS = st.integers(-3, 6) | st.sampled_from([0.5, 1.5, 1e9, 1e12, 0.12345678])
NAMES = st.sampled_from(["a", "b", "c"])
PARTS = st.text("abAB.", min_size=1, max_size=3)
ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.1.1", "::1", "010.0.0.1"])
EXPRESSIONS = st.one_of(
    st.builds(lambda text: {"prefix": text}, TEXTS),
    st.builds(lambda text: {"suffix": text}, TEXTS),
    st.builds(lambda text: {"equals-ignore-case": text}, TEXTS),
    st.builds(lambda text: {"prefix": {"equals-ignore-case": text}}, TEXTS),
    st.builds(lambda text: {"suffix": {"equals-ignore-case": text}}, TEXTS),
    st.builds(lambda parts: {"wildcard": "*".join(parts)}, st.lists(PARTS, min_size=1, max_size=3)),
    st.builds(lambda low: {"numeric": [">=", low, "<", low + 3]}, st.integers(-3, 6)),
    st.builds(lambda low: {"numeric": ["<=", low]}, st.integers(-3, 6)),
    st.builds(lambda text: {"anything-but": text}, TEXTS | st.integers(-3, 6)),
    st.builds(lambda there: {"exists": there}, st.booleans()),
    st.builds(lambda bits: {"cidr": f"10.0.0.0/{bits}"}, st.integers(0, 31)),
)
VALUES = TEXTS | NUMBERS | ADDRESSES | st.booleans() | st.none()
FIELDS = st.dictionaries(NAMES, st.lists(EXPRESSIONS | VALUES, min_size=1, max_size=3), min_size=1)
PATTERNS = (
    FIELDS
    | st.builds(lambda one, other: {"$or": [one, other]}, FIELDS, FIELDS)
    | st.dictionaries(NAMES, FIELDS, min_size=1)
)
LEAVES = VALUES | st.lists(VALUES | st.dictionaries(NAMES, VALUES), max_size=3)
EVENTS = st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES))


@given(st.lists(PATTERNS, max_size=12), st.lists(EVENTS, max_size=6))
def test_a_set_finds_what_each_pattern_alone_finds(patterns: list[Any], events: list[Any]) -> None:
    named = [(place, EventPattern(pattern)) for place, pattern in enumerate(patterns)]
    rules = RuleSet(named)
    for event in events:
        assert rules.matching(event) == [place for place, pattern in named if pattern.matches(event)]


def test_all_recorded_patterns_together_find_what_each_alone_finds() -> None:
    valid = [case for case in cases("event_patterns.jsonl") if case["expected"] != "invalid"]
    named = [(text, EventPattern(text)) for text in dict.fromkeys(case["pattern"] for case in valid)]
    rules = RuleSet(named)
    for event in list(dict.fromkeys(case["event"] for case in valid))[::10]:
        assert rules.matching(event) == [name for name, pattern in named if pattern.matches(event)]


def test_an_event_comes_into_question_for_few_of_many_rules() -> None:
    rules = RuleSet(
        (number, EventPattern({"source": ["shop"], "price": [{"numeric": [">=", number, "<", number + 2]}]}))
        for number in range(2000)
    )
    assert rules.matching({"source": "shop", "price": 100.5}) == [99, 100]


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 9)), min_size=1), st.integers(-12, 20))
def test_an_interval_tree_finds_the_intervals_that_hold_a_number(spans: list[tuple[int, int]], number: int) -> None:
    intervals = [Interval(low, low + length, place) for place, (low, length) in enumerate(spans)]
    expected = sorted(one.item for one in intervals if one.low <= number <= one.high)
    assert sorted(Intervals(intervals).holding(number)) == expected

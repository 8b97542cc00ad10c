"""Event patterns answer as the service answers, and say of a wrong one where it is wrong and why."""

import json
from decimal import Decimal
from typing import Any

import pytest

import forebay
from forebay.domain.errors import InvalidPattern, RequestError
from forebay.policy.matching import EventPattern
from forebay.policy.matching.conditions import address_of
from forebay.policy.matching.leaves import Odd, number

from .vectors import cases


def _answer(pattern: Any, event: Any) -> bool | str:
    try:
        return EventPattern(pattern).matches(event)
    except InvalidPattern:
        return "invalid"


def test_every_recorded_case_is_answered_as_the_service_answered_it() -> None:
    found = cases("event_patterns.jsonl")
    wrong = [case for case in found if _answer(case["pattern"], case["event"] or "{}") != case["expected"]]
    assert len(found) == 1901
    assert wrong == []


def test_parsed_patterns_and_events_are_answered_as_their_texts() -> None:
    wrong = []
    for case in cases("event_patterns.jsonl"):
        if case["expected"] == "invalid" or "location" in case["pattern"] or case["pattern"].count('"x"') > 1:
            continue  # a dict keeps one of two equal keys
        if case["pattern"].count('"points"') > 1:
            continue
        if _answer(json.loads(case["pattern"]), json.loads(case["event"])) != case["expected"]:
            wrong.append(case)
    assert wrong == []


@pytest.mark.parametrize(
    ("pattern", "where"),
    [
        ({"detail": {"price": [{"numeric": [">", "1"]}]}}, "detail.price[0].numeric[1]: "),
        ({"detail": {"price": [{"nummeric": [">", 1]}]}}, "detail.price[0]: 'nummeric' is no match type"),
        ({"a": [1, [2]]}, "a[1]: "),
        ({"a": {"$or": [{"b": [1]}]}}, "a.$or: "),
        ({"a": {"$or": [{"b": [1]}, {"c": []}]}}, "a.c: "),
        ({"a": {}}, "a: "),
        ({}, "an object may not be empty"),
        ({"a": [{"wildcard": "*a*b*c*d*e*"}]}, "a[0].wildcard: too complex"),
        ({"a": [{"anything-but": {"prefix": ["x", ""]}}]}, "a[0].anything-but.prefix: "),
        ({"a": 1}, "a: "),
        ([1], "a pattern is an object"),
        ('{"a": [NaN]}', "not valid JSON"),
        ('{"a": ' + "[" * 100_000, "not valid JSON"),
        ({1: ["x"]}, "the name of a field is a string"),
    ],
)
def test_a_wrong_pattern_is_refused_with_where_and_why(pattern: Any, where: str) -> None:
    with pytest.raises(forebay.InvalidPattern) as caught:
        forebay.EventPattern(pattern)
    assert caught.value.message.startswith(where)


@pytest.mark.parametrize("event", ["[]", "no json", {"a": object()}, '{"a": ' + '{"a": ' * 100_000, b"\xff"])
def test_an_event_that_is_no_json_object_is_refused(event: Any) -> None:
    with pytest.raises(RequestError):
        EventPattern({"a": {"a": [{"exists": True}]}}).matches(event)


def test_conditions_on_one_element_of_an_array_hold_for_the_same_element() -> None:
    pattern = EventPattern({"people": {"name": ["Ann"], "age": [30]}})
    assert pattern.matches({"people": [{"name": "Bob", "age": 20}, {"name": "Ann", "age": 30}]})
    assert not pattern.matches({"people": [{"name": "Ann", "age": 20}, {"name": "Bob", "age": 30}]})


def test_numbers_are_equal_to_six_decimals_and_beyond_them_by_their_spelling() -> None:
    assert number("1") == number("1.0") == number("10e-1") == 1_000_000
    assert number("-0.000001") == -1
    assert number("0.0000001") == Odd("0.0000001")
    assert number("0e999999999") == 0
    assert number("1e999999999") == Odd("1e999999999")
    assert number("9" * 5000) == Odd("9" * 5000)
    assert EventPattern('{"a": [300]}').matches('{"a": 3.0e2}')
    assert EventPattern('{"a": [0.12345678]}').matches('{"a": 0.12345678}')
    assert not EventPattern('{"a": [0.12345678]}').matches('{"a": 0.123456780}')
    assert EventPattern({"a": [Decimal("1.50")]}).matches({"a": 1.5})
    assert not EventPattern({"a": [1]}).matches({"a": True})


def test_an_address_is_equal_in_all_its_spellings() -> None:
    assert address_of("010.0.0.1") == address_of("10.0.0.1") == address_of("::ffff:a00:1")
    assert address_of("256.0.0.1") is None
    assert EventPattern({"ip": ["2001:db8::1"]}).matches({"ip": "2001:0DB8:0:0:0:0:0:1"})
    assert not EventPattern({"ip": [{"cidr": "0.0.0.0/0"}]}).matches({"ip": "::1"})


def test_case_is_ignored_as_the_service_ignores_it() -> None:
    folded = EventPattern({"a": [{"equals-ignore-case": "straße"}]})
    assert folded.matches({"a": "STRASSE"})
    assert folded.matches({"a": "Straße"})
    assert not EventPattern({"a": [{"equals-ignore-case": "k"}]}).matches({"a": "\u212a"})  # the Kelvin sign


def test_a_wildcard_takes_time_that_its_text_bounds() -> None:
    pattern = EventPattern({"a": [{"wildcard": "*a*a*a*a*b"}]})
    assert not pattern.matches({"a": "a" * 50_000})
    assert pattern.matches({"a": "a" * 50_000 + "b"})

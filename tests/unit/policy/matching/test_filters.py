"""SNS filter policies answer as the service does."""

from typing import Any

import pytest

import forebay

from .vectors import cases


def test_every_recorded_case_is_answered_as_recorded() -> None:
    found = cases("sns_filters.jsonl")
    wrong = [
        case
        for case in found
        if forebay.FilterPolicy(case["policy"], scope=case["scope"]).matches(case["attributes"], case["message"])
        != case["expected"]
    ]
    assert len(found) == 242
    assert wrong == []


def test_attributes_in_the_sdks_spelling_are_read_too() -> None:
    policy = forebay.FilterPolicy('{"price": [{"numeric": [">", 99]}], "kind": ["a"]}')
    price = {"DataType": "Number.int", "StringValue": "100"}
    assert policy.matches({"price": price, "kind": {"DataType": "String", "StringValue": "a"}})
    assert not policy.matches({"price": price, "kind": {"DataType": "Binary", "BinaryValue": None}})


@pytest.mark.parametrize("message", ["no json", "[1]", "", '{"a": ' * 50_000])
def test_a_body_that_is_no_object_passes_the_empty_policy_alone(message: str) -> None:
    assert not forebay.FilterPolicy({"a": [{"exists": False}]}, scope="MessageBody").matches({}, message)
    assert forebay.FilterPolicy({}, scope="MessageBody").matches({}, message)


@pytest.mark.parametrize("policy", [{"a": [{"prefix": 1}]}, {"a": []}, {"a": {}}, [1], "{", {"$or": [{"a": ["b"]}]}])
def test_a_wrong_policy_is_refused(policy: Any) -> None:
    with pytest.raises(forebay.InvalidPattern):
        forebay.FilterPolicy(policy)


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="not a valid Scope"):
        forebay.FilterPolicy({}, scope="Body")

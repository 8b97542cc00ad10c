"""Filters of searches, as they are read."""

from typing import Any

import pytest

from forebay.domain.errors import RequestError
from forebay.policy.vector_filter import Comparison, read_filter


def test_every_form_is_read_as_what_it_says() -> None:
    found = read_filter({"a.b": "x", "c": [1, None, True], "d": {"gte": 1, "lt": "z"}, "e": {"exists": False}})
    assert [(one.path, one.comparison, one.values) for one in found] == [
        (("a", "b"), Comparison.ANY, ("x",)),
        (("c",), Comparison.ANY, (1.0, None, True)),
        (("d",), Comparison.GTE, (1.0,)),
        (("d",), Comparison.LT, ("z",)),
        (("e",), Comparison.EXISTS, (False,)),
    ]
    assert read_filter(None) == ()


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ("de", "filter"),
        ({"": 1}, "filter."),
        ({"a..b": 1}, "filter.a..b"),
        ({"a": []}, "filter.a"),
        ({"a": {}}, "filter.a"),
        ({"a": {"near": 1}}, "filter.a.near"),
        ({"a": {"gt": True}}, "filter.a.gt"),
        ({"a": {"gt": [1]}}, "filter.a.gt"),
        ({"a": {"exists": 1}}, "filter.a.exists"),
        ({"a": [[1]]}, "filter.a"),
        ({"a": float("inf")}, "filter.a"),
        ({"a": "\0"}, "filter.a"),
        ({str(place): 1 for place in range(33)}, "filter"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(asked: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_filter(asked)
    assert caught.value.param == param

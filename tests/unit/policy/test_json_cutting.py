"""Cutting JSON that comes in pieces: whatever the pieces, the elements are those of the whole."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.json_cutting import MOST_OTHERS, ArrayCutter, NotJson, TooLong
from forebay.policy.json_text import DEEPEST

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
NAMES = st.text().filter(lambda name: name != "requests")


def cut(text: bytes, size: int, longest_bytes: int = 10_000) -> tuple[list[Any], ArrayCutter]:
    cutter = ArrayCutter("requests", longest_bytes=longest_bytes)
    elements: list[bytes] = []
    for start in range(0, len(text), size):
        elements += cutter.feed(text[start : start + size])
    cutter.finish()
    return [json.loads(element) for element in elements], cutter


@given(
    st.lists(VALUES, max_size=6),
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.integers(min_value=1, max_value=40),
    st.sampled_from([None, 0, 3]),
    st.booleans(),
)
def test_the_elements_are_those_of_the_whole(
    elements: list[Any], others: dict[str, Any], size: int, indent: int | None, is_ascii: bool
) -> None:
    document = {**others, "requests": elements, **{f"{name}+": value for name, value in others.items()}}
    text = json.dumps(document, indent=indent, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    found, cutter = cut(text, size)
    assert found == elements
    assert {json.loads(name): json.loads(value) for name, value in cutter.others.items()} == {
        name: value for name, value in document.items() if name != "requests"
    }


@given(st.lists(VALUES, max_size=4), st.data())
def test_a_text_that_ends_too_soon_is_refused(elements: list[Any], data: st.DataObject) -> None:
    text = json.dumps({"requests": elements}).encode()
    end = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    with pytest.raises(NotJson):
        cut(text[:end], 7)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '"requests"',
        '{"requests" []}',
        '{"requests": {}}',
        '{"requests": 1}',
        '{"requests": [1 2]}',
        '{"requests": [1,]}',
        '{"requests": [,1]}',
        '{"requests": []]',
        '{"requests": []} x',
        '{"requests": [], "requests": []}',
        "{1: 2}",
        '{"a": }',
        '{"a": 1,}',
        '{"requests": [' + "[" * (DEEPEST + 1),
        json.dumps({str(number): 1 for number in range(MOST_OTHERS + 1)}),
    ],
)
def test_what_is_no_such_object_is_refused(text: str) -> None:
    for size in (1, 1000):
        with pytest.raises(NotJson):
            cut(text.encode(), size)


@pytest.mark.parametrize("text", ['{"requests": ["%s"]}', '{"requests": [%s]}', '{"a": "%s", "requests": []}'])
def test_a_value_that_is_too_long_is_refused_before_its_end(text: str) -> None:
    cutter = ArrayCutter("requests", longest_bytes=100, longest_other_bytes=100)
    letters = [bytes([letter]) for letter in (text.partition("%s")[0] + "1" * 200).encode()]
    with pytest.raises(TooLong):
        list(map(cutter.feed, letters))

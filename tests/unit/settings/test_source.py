"""The configuration's text as a tree: YAML 1.2's core schema, JSON, and variables of the environment."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.settings.source import Item, Problem, Source


def plain(item: Item) -> Any:
    if isinstance(item.value, dict):
        return {name: plain(child) for name, child in item.value.items()}
    return [plain(child) for child in item.value] if isinstance(item.value, list) else item.value


def read(text: str, environ: dict[str, str] | None = None) -> Any:
    source = Source(environ or {})
    value = plain(source.parse(text))
    assert source.problems == []
    return value


def problems(text: str, environ: dict[str, str] | None = None) -> list[Problem]:
    source = Source(environ or {})
    source.parse(text)
    return source.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("22:00", "22:00"),
        ("2026-11-21", "2026-11-21"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-12", -12),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ('"true"', "true"),
        ("=", "="),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = read(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


def test_json_with_tabs_and_escaped_pairs_is_accepted() -> None:
    assert read('{\n\t"a": [1,\t2.5],\n\t"b": "x\\ud83d\\ude00"}') == {"a": [1, 2.5], "b": "x😀"}


def test_variables_are_replaced_in_values_alone() -> None:
    environ = {"A": "x: [1]", "E": ""}
    text = "${A}: '${A}'\nb: ${NONE:-d e}\nc: 1${A}2${A}\nd: $${A}\ne: ${E:-empty}\nf: $5 and $\ng: '${E}'"
    assert read(text, environ) == {
        "${A}": "x: [1]",
        "b": "d e",
        "c": "1x: [1]2x: [1]",
        "d": "${A}",
        "e": "empty",
        "f": "$5 and $",
        "g": "",
    }


def test_what_a_variable_holds_is_never_expanded_again() -> None:
    assert read("a: ${A}", {"A": "${B}", "B": "x"}) == {"a": "${B}"}


@pytest.mark.parametrize("text", ["${A}", "x ${1}", "${", "${A", "${A:default}"])
def test_a_variable_that_is_not_set_or_not_well_written_is_an_error(text: str) -> None:
    [problem] = problems(f"k:\n  - '{text}'")
    assert (problem.line, problem.key) == (2, "k[0]")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3", 3),
        ("a:\n  b: 1\n  b: 2", 3),
        ("a: [1", 1),
        ("a: 1\n---\nb: 1", 2),
        ("a: *none", 1),
        ("a: &x [*x]", 1),
        ("? [1]\n: 2", 1),
        ("a: !run {b: 1}", 1),
        ("a: \x00", None),
        ("a:\n\tb: 1", 2),
    ],
)
def test_what_is_no_plain_document_is_an_error_with_its_line(text: str, line: int | None) -> None:
    assert [problem.line for problem in problems(text)] == [line]


def test_aliases_that_multiply_are_refused_in_good_time() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    assert any("more than" in problem.message for problem in problems(text))


# YAML forbids control characters and a few others as they stand; JSON texts escape them, but for DEL and C1.
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Cs"]), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(value=st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_json_without_variables_is_read_as_it_is(value: dict[str, object]) -> None:
    text = msgspec.json.encode(value).decode().replace("$", "S")
    expected = msgspec.json.decode(text)
    source = Source({})
    assert plain(source.parse(text)) == expected

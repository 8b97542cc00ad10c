"""Named parameters in SQL: found where they are, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.errors import RequestError
from forebay.policy.sql_text import bound_values, read_statement


def numbered(text: str) -> str:
    return read_statement(text).with_places(lambda number, name: f"<{number}{name}>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT :a, :b, :a", "SELECT <1a>, <2b>, <1a>"),
        ("SELECT x::int, ':a', \":a\", `:a`, :a::text", "SELECT x::int, ':a', \":a\", `:a`, <1a>::text"),
        ("SELECT 'it''s :a' -- :a\n, :b /* :a\n */", "SELECT 'it''s :a' -- :a\n, <1b> /* :a\n */"),
        (r"SELECT E'\':a', e'x' || :b", r"SELECT E'\':a', e'x' || <1b>"),
        ("SELECT $$:a$$, $t$ $$ :a $t$, :b", "SELECT $$:a$$, $t$ $$ :a $t$, <1b>"),
        ("SELECT list[1:n], {'k':1}, f(a := :b)", "SELECT list[1:n], {'k':1}, f(a := <1b>)"),
        ("WHERE a=:a;  -- done\n", "WHERE a=<1a>"),
        ("SELECT ';' ; ; ", "SELECT ';' "),
    ],
)
def test_parameters_are_found_outside_of_texts_and_comments(text: str, expected: str) -> None:
    assert numbered(text) == expected


@pytest.mark.parametrize(
    "text", ["", "  ", "SELECT 1; DROP TABLE x", "SELECT 1; /* a */ x", "SELECT '\0'", "x" * 100_001]
)
def test_what_is_not_one_statement_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        read_statement(text)


@given(st.text(alphabet="ab:;'\"$-/* \n\\E", max_size=40))
def test_any_text_is_read_or_refused_and_nothing_but_parameters_changes(text: str) -> None:
    try:
        statement = read_statement(text)
    except RequestError:
        return
    assert text.startswith(statement.with_places(lambda _, name: f":{name}"))


def test_values_come_from_params_or_from_the_bodys_members_of_their_names() -> None:
    statement = read_statement("SELECT :a, :b")
    assert bound_values(statement, {"params": {"a": 1, "b": None}, "a": 2}) == {"a": 1, "b": None}
    assert bound_values(statement, {"a": 1, "b": [2], "messages": []}) == {"a": 1, "b": [2]}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"params": {"a": 1}}, "params.b"),
        ({"a": 1}, "params.b"),
        ({"params": {"a": 1, "b": 2, "c": 3}}, "params.c"),
        ({"params": [1]}, "params"),
    ],
)
def test_a_parameter_too_few_or_too_many_is_refused(body: dict[str, object], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        bound_values(read_statement("SELECT :a, :b"), body)
    assert caught.value.param == param

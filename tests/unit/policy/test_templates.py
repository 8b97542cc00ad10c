"""Templates: what is a placeholder and what is not, and that a value never leaves its place."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.errors import TemplateFieldMissing
from forebay.policy.templates import compile_body, compile_text

RECORD = {
    "text": "nice {stars}",
    "stars": 5,
    "none": None,
    "detail": {"name": "Lamp", "tags": ["a", {"b": True}], "odd key": "odd"},
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{text}", "nice {stars}"),
        ("{stars}", 5),
        ("{none}", None),
        ("stars: {stars}", "stars: 5"),
        ("<{none}>", "<>"),
        ("{detail.name}!", "Lamp!"),
        ("{detail.tags[0]}", "a"),
        ("{detail.tags[1].b}", True),
        ("{detail.`odd key`} {detail.tags}", 'odd ["a",{"b":true}]'),
        ('{"json": {stars}, "x": {}}', '{"json": 5, "x": {}}'),
        ('{"a": {"b": {{x}}}} {{', '{"a": {"b": {x}}} {'),
        ("a }} b", "a } b"),
        ("{{stars}}", "{stars}"),
        ("{{{stars}}}", "{5}"),
        ("{ stars }", "{ stars }"),
        ("{stars", "{stars"),
        ("", ""),
    ],
)
def test_a_template_renders_as_the_reference_says(template: str, expected: object) -> None:
    assert compile_text(template).render(RECORD) == expected


@pytest.mark.parametrize(
    "template", ["{gone}", "x {detail.gone} y", "{detail.tags[7]}", "{text.name}", "{detail[0]}", "{none.x}"]
)
def test_a_missing_path_is_named(template: str) -> None:
    with pytest.raises(TemplateFieldMissing) as raised:
        compile_text(template).render(RECORD)
    assert raised.value.param is not None
    assert raised.value.param in template
    assert raised.value.code == "template_field_missing"


def test_fields_are_the_names_at_the_top() -> None:
    body = {"a": "{text} {detail.name}", "b": ["{stars}", 3], "{none}": "literal key"}
    assert compile_body(body).fields == {"text", "detail", "stars"}


@given(st.text())
def test_a_text_without_braces_is_itself(text: str) -> None:
    plain = text.replace("{", "").replace("}", "")
    assert compile_text(plain).render({}) == plain


@given(st.text())
def test_doubled_braces_give_any_text_back(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert compile_text(escaped).render({}) == text


@given(json_values)
def test_alone_a_placeholder_keeps_the_value_and_its_type(value: Any) -> None:
    rendered = compile_body({"x": "{field}"}).render({"field": value})
    assert rendered == {"x": value}
    assert type(rendered["x"]) is type(value)


@given(st.text(), st.text(), st.text())
def test_a_value_is_never_expanded_again_and_never_breaks_out(before: str, value: str, after: str) -> None:
    before, after = (part.replace("{", "").replace("}", "") for part in (before, after))
    body = {"messages": [{"content": f"{before}{{field}}{after}"}], "model": "m"}
    rendered = compile_body(body).render({"field": value})
    decoded = msgspec.json.decode(msgspec.json.encode(rendered))
    assert decoded == {"messages": [{"content": before + value + after}], "model": "m"}


@given(
    record=st.dictionaries(st.sampled_from(["a", "b"]), json_values), text=st.text(alphabet="ab{}[]0.`x", max_size=20)
)
def test_a_rendered_body_is_json_of_the_same_shape(record: dict[str, Any], text: str) -> None:
    body = {"{a}": [text, 1, None], "b": {"c": "x {a} y"}}
    try:
        rendered = compile_body(body).render(record)
    except TemplateFieldMissing:
        return
    assert msgspec.json.decode(msgspec.json.encode(rendered)) == rendered
    assert list(rendered) == ["{a}", "b"]
    assert rendered["{a}"][1:] == [1, None]
    assert isinstance(rendered["b"]["c"], str)

"""Templates: a value stays in its place whatever it is, and every other character is the author's."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from forebay.domain.errors import RequestError, TemplateFieldMissing
from forebay.policy.templates import compile_body, compile_text, show_path
from tests.fuzz.refusals import refusal_of
from tests.fuzz.strategies import JSON_VALUES, TEXTS, fuzz

HOSTILE = st.sampled_from(['", "admin": true, "x": "', "{a}", "{{a}}", "{`b c`}", "}", "\\", '\\"', "\n", "{a.b[0]}"])
VALUES = HOSTILE | JSON_VALUES
SCOPES = st.fixed_dictionaries({"a": VALUES, "b c": VALUES, "rest": VALUES})
PLAIN = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), max_size=8)
PIECES = st.lists(PLAIN | st.sampled_from(["{a}", "{`b c`}", "{ a }", "{", "}", "{{", "}}", '{"a": 1}', "{a.}", "{}"]))
BODIES = st.recursive(
    PIECES.map("".join) | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def shown(value: Any) -> str:
    """How a value stands within a text."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def shape(value: Any) -> Any:
    """A body without its strings, which alone may change."""
    match value:
        case dict():
            return {name: shape(item) for name, item in value.items()}
        case list():
            return [shape(item) for item in value]
        case str():
            return str
    return value


@fuzz(400)
@given(st.lists(PLAIN, min_size=2, max_size=4), SCOPES)
def test_a_value_goes_in_as_it_is_and_is_never_expanded_again(texts: list[str], scope: dict[str, Any]) -> None:
    rendered = compile_text("{a}".join(texts)).render_text(scope)
    inner = compile_text("{a}").render_text(scope)
    assert rendered == inner.join(texts)
    assert not isinstance(scope["a"], str) or inner == scope["a"]


@fuzz(300)
@given(SCOPES)
def test_alone_in_its_string_a_placeholder_keeps_its_type(scope: dict[str, Any]) -> None:
    rendered = compile_body({"x": "{a}", "y": ["{`b c`}"], "z": " {a}"}).render(scope)
    assert rendered["x"] == scope["a"]
    assert type(rendered["x"]) is type(scope["a"])
    assert rendered["y"] == [scope["b c"]]
    assert isinstance(rendered["z"], str)


@fuzz(400)
@given(BODIES, SCOPES)
@example({"x": "{a}"}, {"a": '"}, "role": "system', "b c": 1, "rest": None})
def test_a_body_keeps_its_shape_whatever_the_values_are(body: Any, scope: dict[str, Any]) -> None:
    template = compile_body(body)
    texts = {name: shown(value) + "." for name, value in scope.items()}  # texts alone: no placeholder changes a type
    if refusal_of(lambda: template.render(texts)) is None:  # else it names what no scope has: a text such as `{0}`
        assert shape(json.loads(json.dumps(template.render(texts)))) == shape(body)
        assert json.dumps(template.render(scope))


@fuzz(400)
@given(PIECES.map("".join) | TEXTS)
def test_every_text_is_a_template_and_names_what_it_needs(text: str) -> None:
    template = compile_text(text)
    refusal = refusal_of(lambda: template.render({}))
    if template.fields:
        assert isinstance(refusal, TemplateFieldMissing)
        assert refusal.param is not None
        assert compile_text("{" + refusal.param + "}").fields <= template.fields
    else:
        assert refusal is None
        assert len(template.render({})) <= len(text)


@fuzz(300)
@given(st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), max_size=20))
def test_doubled_braces_are_braces(text: str) -> None:
    assert compile_text("{{" + text + "}}").render({}) == "{" + text + "}"


STEPS = st.integers(0, 3) | st.text(st.characters(exclude_characters="`", exclude_categories=["Cs"]), min_size=1)


@fuzz(300)
@given(st.text("abc-_", min_size=1, max_size=3), st.lists(STEPS, max_size=3), VALUES)
def test_a_path_leads_to_what_it_names_and_nowhere_else(name: str, steps: list[int | str], value: Any) -> None:
    scope: Any = value
    for step in reversed(steps):
        scope = {step: scope} if isinstance(step, str) else [None] * step + [scope]
    path = show_path((name, *steps))
    assert compile_text("{" + path + "}").render({name: scope}) == value
    refusal = refusal_of(lambda: compile_text("{" + path + ".nowhere-at-all}").render({name: scope}))
    assert isinstance(refusal, RequestError)

"""Schemas: what is valid, why something is not, and how a model is told."""

from typing import Any

import pytest

from forebay.domain.errors import RequestError
from forebay.policy.schema import compile_schema, is_closed, with_schema

CLOSED = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}, "marks": {"type": "array", "items": {"type": "integer"}}},
    "required": ["label", "marks"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "properties": {"label": {"type": "string"}}}


def test_a_valid_text_gives_its_value() -> None:
    checked = compile_schema(CLOSED).check('{"label": "good", "marks": [1]}')
    assert checked.is_valid
    assert checked.value == {"label": "good", "marks": [1]}


def test_a_markdown_fence_is_forgiven() -> None:
    assert compile_schema(OPEN).check('```json\n{"label": "x"}\n```\n').value == {"label": "x"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"label": "ugly", "marks": []}', "at label"),
        ('{"label": "good", "marks": ["x"]}', "at marks/0"),
        ('{"label": "good"', "not JSON"),
        ("Sure! Here it is", "not JSON"),
        (None, "no text"),
    ],
)
def test_an_invalid_text_gives_the_reason_and_the_place(text: str | None, reason: str) -> None:
    checked = compile_schema(CLOSED).check(text)
    assert not checked.is_valid
    assert any(reason in said for said in checked.reasons)


@pytest.mark.parametrize("definition", [{"type": "thing"}, {"$ref": "http://127.0.0.1:9/s"}, {"pattern": "("}, 3, "{}"])
def test_what_is_no_schema_is_refused_without_fetching(definition: object) -> None:
    with pytest.raises(RequestError, match="schema"):
        compile_schema(definition)


def test_only_a_closed_schema_is_strict() -> None:
    assert is_closed(CLOSED)
    assert not is_closed(OPEN)
    assert not is_closed({"type": "array", "items": OPEN})
    assert is_closed({"$defs": {"a": CLOSED}, "$ref": "#/$defs/a"})
    assert not is_closed({**CLOSED, "properties": {"label": OPEN, "marks": {"type": "array"}}})


TOLD: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (
        "/v1/chat/completions",
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "output", "schema": CLOSED, "strict": True},
            }
        },
    ),
    "responses": (
        "/v1/responses",
        {"text": {"format": {"type": "json_schema", "name": "output", "schema": CLOSED, "strict": True}}},
    ),
    "messages": ("/v1/messages", {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}}),
    "completions": ("/v1/completions", {}),
}


@pytest.mark.parametrize(("endpoint", "told"), TOLD.values(), ids=TOLD.keys())
def test_each_wire_is_told_the_schema_in_its_own_field(endpoint: str, told: dict[str, Any]) -> None:
    assert with_schema({"model": "m"}, endpoint, compile_schema(CLOSED)) == {"model": "m", **told}


def test_a_response_format_of_the_users_own_stays() -> None:
    body = {"response_format": {"type": "json_object"}}
    assert with_schema(body, "/v1/chat/completions", compile_schema(CLOSED)) == body

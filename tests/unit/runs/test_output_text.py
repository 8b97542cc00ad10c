"""The text of an answer, whichever vendor's shape it has."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.output_text import output_of, read_output

ANSWERS: dict[str, tuple[dict[str, Any], object]] = {
    "chat": ({"choices": [{"message": {"role": "assistant", "content": "good"}}]}, "good"),
    "chat parts": ({"choices": [{"message": {"content": [{"type": "text", "text": "go"}, {"type": "image"}]}}]}, "go"),
    "chat tools": ({"choices": [{"message": {"content": None, "tool_calls": []}}]}, None),
    "first choice": ({"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]}, "a"),
    "completion": ({"choices": [{"text": " said"}]}, " said"),
    "responses": (
        {
            "object": "response",
            "output": [
                {"type": "reasoning", "summary": []},
                {
                    "type": "message",
                    "content": [{"type": "output_text", "text": "x"}, {"type": "output_text", "text": "y"}],
                },
            ],
        },
        "xy",
    ),
    "anthropic": (
        {"type": "message", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]},
        "yes",
    ),
    "embedding": ({"data": [{"embedding": [0.5, 1.0], "index": 0}]}, [0.5, 1.0]),
    "embeddings": ({"data": [{"embedding": [1]}, {"embedding": [2]}]}, [[1], [2]]),
    "transcript": ({"text": "hello"}, "hello"),
    "a function's": ({"label": "cat"}, {"label": "cat"}),
    "no choice": ({"choices": []}, {"choices": []}),
}


@pytest.mark.parametrize(("answer", "value"), ANSWERS.values(), ids=ANSWERS.keys())
def test_every_vendors_answer_gives_its_output(answer: dict[str, Any], value: object) -> None:
    assert read_output(msgspec.json.encode(answer)).value == value


def test_a_refusal_is_told_from_a_text() -> None:
    output = output_of({"choices": [{"message": {"content": None, "refusal": "I can't"}}]})
    assert (output.value, output.refusal) == (None, "I can't")


def test_a_body_that_is_not_json_is_text() -> None:
    assert read_output(b"plain").value == "plain"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "output", "data", "text", "type", "object", "embedding"]),
            inner | st.sampled_from(["message", "response", "text", "refusal"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_answer_is_too_strange_to_be_read(answer: object) -> None:
    read_output(msgspec.json.encode(answer))

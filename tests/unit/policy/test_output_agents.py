"""What agents and tools said, as `forebay run`, pipelines and schemas read it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.output_text import output_of, read_output


def task(*artifacts: Any, **status: Any) -> dict[str, Any]:
    return {"id": "t", "status": {"state": "TASK_STATE_COMPLETED", **status}, "artifacts": list(artifacts)}


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (task({"parts": [{"text": "one"}, {"file": {}}]}, {"parts": [{"text": "two"}]}), "one\ntwo"),
        (task({"parts": [{"data": {"label": "x"}}]}), {"label": "x"}),
        (task({"parts": [{"data": 1}, {"data": None}]}), [1, None]),
        (task(message={"role": "ROLE_AGENT", "parts": [{"text": "done"}]}), "done"),
        (task(), None),
        ({"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "Hi"}]}, "Hi"),
        ({"content": [{"type": "text", "text": "5"}], "structuredContent": {"result": 5}, "isError": False}, 5),
        ({"content": [], "structuredContent": {"city": "Rome"}, "isError": False}, {"city": "Rome"}),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image"}], "isError": False}, "a"),
        ({"content": [{"type": "image"}], "isError": False}, None),
    ],
)
def test_the_words_or_the_data_are_the_output(answer: Any, value: Any) -> None:
    assert read_output(json.dumps(answer)).value == value


@pytest.mark.parametrize(
    "answer",
    [{"status": "ok", "n": 1}, {"status": {"state": "busy"}}, {"role": "user", "parts": []}, {"isError": "no", "x": 1}],
)
def test_what_only_looks_like_one_is_itself(answer: Any) -> None:
    assert read_output(json.dumps(answer)).value == answer


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["parts", "text", "data", "state", "message", "role", "artifacts"]), inner)
    ),
    max_leaves=12,
)


@given(status=ANYTHING, parts=ANYTHING, content=ANYTHING, structured=ANYTHING)
def test_no_garbage_of_an_agent_or_a_tool_raises(status: Any, parts: Any, content: Any, structured: Any) -> None:
    for answer in (
        {"status": {"state": "TASK_STATE_COMPLETED", "message": status}, "artifacts": parts},
        {"role": "ROLE_AGENT", "parts": parts},
        {"isError": False, "content": content, "structuredContent": structured},
    ):
        output_of(answer)

"""Responses requests as chat completions: every member is sent on, has a meaning of ours, or is refused."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses import response_create_params
from pydantic import TypeAdapter

from forebay.domain.errors import NotSupported, RequestError
from forebay.policy.responses_answer import ChatAnswer
from forebay.policy.responses_request import CONSUMED, chat_request

Json = dict[str, Any]

CHAT: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)
FUNCTION = {"type": "function", "name": "look", "description": "d", "parameters": {"type": "object"}, "strict": True}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: A"}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}

#: A value of each member that can be said in chat completions, and what is said there.
SAID: dict[str, tuple[Any, Json]] = {
    "max_output_tokens": (17, {"max_tokens": 17}),
    "temperature": (0.5, {"temperature": 0.5}),
    "top_p": (0.25, {"top_p": 0.25}),
    "top_logprobs": (3, {"logprobs": True, "top_logprobs": 3}),
    "include": (["message.output_text.logprobs"], {"logprobs": True}),
    "user": ("u", {"user": "u"}),
    "service_tier": ("flex", {"service_tier": "flex"}),
    "safety_identifier": ("s", {"safety_identifier": "s"}),
    "prompt_cache_key": ("k", {"prompt_cache_key": "k"}),
    "prompt_cache_retention": ("24h", {"prompt_cache_retention": "24h"}),
    "reasoning": ({"effort": "low"}, {"reasoning_effort": "low"}),
    "parallel_tool_calls": (False, {}),  # without tools it says nothing
    "truncation": ("disabled", {}),
    "stream_options": ({"include_obfuscation": False}, {}),
    "text": (
        {"format": SCHEMA, "verbosity": "low"},
        {
            "verbosity": "low",
            "response_format": {"type": "json_schema", "json_schema": {k: v for k, v in SCHEMA.items() if k != "type"}},
        },
    ),
    "tools": (
        [FUNCTION, {"type": "custom", "name": "c", "format": GRAMMAR}],
        {
            "tools": [
                {"type": "function", "function": {k: v for k, v in FUNCTION.items() if k != "type"}},
                {
                    "type": "custom",
                    "custom": {
                        "name": "c",
                        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: A"}},
                    },
                },
            ]
        },
    ),
    "tool_choice": (
        {"type": "function", "name": "look"},
        {"tool_choice": {"type": "function", "function": {"name": "look"}}},
    ),
    "top_k": (40, {"top_k": 40}),  # no vendor's of these two: servers of one's own know it
}
#: What can't be said there.
REFUSED: list[tuple[str, Any]] = [
    ("previous_response_id", "resp_1"),
    ("conversation", {"id": "conv_1"}),
    ("prompt", {"id": "pmpt_1"}),
    ("context_management", [{"type": "compaction"}]),
    ("moderation", {"model": "m"}),
    ("access_programs", {"cyber": "standard"}),
    ("image", {"context_compression": "auto"}),
    ("prompt_cache_options", {"mode": "implicit"}),
    ("truncation", "auto"),
    ("include", ["reasoning.encrypted_content"]),
    ("reasoning", {"effort": "low", "summary": "auto"}),
    ("stream_options", {"include_obfuscation": True}),
    ("tools", [{"type": "web_search"}]),
    ("tools", [{"type": "computer_use_preview", "display_width": 1, "display_height": 1, "environment": "mac"}]),
    ("tools", [{**FUNCTION, "defer_loading": True}]),
    ("tool_choice", {"type": "web_search_preview"}),
    ("text", {"format": {"type": "grammar"}}),
    ("n", 2),
    ("messages", []),
    ("input", None),
    ("input", [5]),
    ("input", [{"type": "item_reference", "id": "x"}]),
    ("input", [{"type": "web_search_call", "id": "x", "status": "completed"}]),
    ("input", [{"type": "reasoning", "id": "x", "summary": [], "encrypted_content": "e"}]),
    ("input", [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]),
    ("input", [{"role": "user", "content": [{"type": "input_file", "file_url": "u"}]}]),
    ("input", [{"role": "nobody", "content": "x"}]),
    (
        "input",
        [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": "u"}]}],
    ),
    ("instructions", [{"role": "system", "content": "x"}]),
]
BUT_INPUT = [(name, value) for name, value in REFUSED if name != "input"]


@settings(max_examples=60, deadline=None)
@given(names=st.sets(st.sampled_from(sorted(SAID))))
def test_every_member_that_can_be_said_is_said(names: set[str]) -> None:
    request = {"model": "m", "input": "x", **{name: SAID[name][0] for name in names}}
    expected: Json = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    for name in sorted(names):
        expected |= SAID[name][1]
    if names >= {"tools", "parallel_tool_calls"}:
        expected["parallel_tool_calls"] = False
    made = chat_request(request)
    assert made == expected
    CHAT.validate_python({name: value for name, value in made.items() if name != "top_k"})


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_what_cant_be_said_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(RequestError) as refused:
        chat_request({"model": "m", "input": "x", name: value})
    assert (refused.value.status_code, str(refused.value.param).startswith(name)) == (400, True)


@settings(max_examples=30, deadline=None)
@given(names=st.sets(st.sampled_from(sorted(SAID))), refused=st.sampled_from(BUT_INPUT))
def test_nothing_else_makes_it_sayable(names: set[str], refused: tuple[str, Any]) -> None:
    with pytest.raises(RequestError):
        chat_request({"model": "m", "input": "x", **{name: SAID[name][0] for name in names}, refused[0]: refused[1]})


def test_every_member_that_the_vendor_knows_is_decided_on() -> None:
    known = set(response_create_params.ResponseCreateParamsBase.__annotations__)
    decided = {*SAID, *(name for name, _ in REFUSED), *CONSUMED, "model"}
    assert known - decided == set()


@pytest.mark.parametrize("name", sorted(CONSUMED))
def test_what_is_ours_is_not_sent(name: str) -> None:
    assert chat_request({"model": "m", "input": "x", name: True}) == chat_request({"model": "m", "input": "x"})


def test_a_whole_conversation_becomes_messages() -> None:
    items = [
        {"role": "developer", "content": "be short"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
                {"type": "input_file", "file_data": "data:text/plain;base64,AA", "filename": "a.txt"},
            ],
        },
        {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "wait", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "code", "input": "1"},
        {"type": "function_call_output", "call_id": "c1", "output": "seen"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ]
    made = chat_request({"model": "m", "instructions": "help", "input": items})
    assert made["messages"] == [
        {"role": "system", "content": "help\n\nbe short"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
                {"type": "file", "file": {"file_data": "data:text/plain;base64,AA", "filename": "a.txt"}},
            ],
        },
        {
            "role": "assistant",
            "reasoning_content": "hm",
            "content": "wait",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "code", "input": "1"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "seen"},
        {"role": "tool", "tool_call_id": "c2", "content": "2"},
        {"role": "assistant", "content": None, "refusal": "no"},
    ]
    CHAT.validate_python(made)


def test_thoughts_that_nothing_came_of_are_a_message_of_their_own() -> None:
    thought = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]}
    made = chat_request({"model": "m", "input": [thought, {"role": "user", "content": "x"}]})
    assert made["messages"][0] == {"role": "assistant", "reasoning_content": "hm", "content": ""}


TEXT = st.text(min_size=1, max_size=8)
ANSWER = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.one_of(TEXT, st.none())},
    optional={
        "reasoning_content": TEXT,
        "tool_calls": st.lists(
            st.builds(
                lambda name, arguments: {"type": "function", "function": {"name": name, "arguments": arguments}},
                st.sampled_from(["f", "g"]),
                st.text(max_size=5),
            ),
            min_size=1,
            max_size=3,
        ),
    },
)


@settings(max_examples=60, deadline=None)
@given(message=ANSWER)
def test_an_answer_comes_back_as_the_message_that_it_was(message: Json) -> None:
    for number, call in enumerate(message.get("tool_calls", ())):
        call["id"] = f"c{number}"
    answer = ChatAnswer("1")
    list(answer.add({"choices": [{"message": copy.deepcopy(message), "finish_reason": "stop"}]}))
    list(answer.finish())
    [back] = chat_request({"model": "m", "input": answer.members()["output"]})["messages"]
    has_words = message["content"] is not None or "tool_calls" in message
    expected = message if has_words else {**message, "content": ""}
    assert back == expected


@pytest.mark.parametrize("kind", ["required", "auto", "none"])
def test_a_choice_of_tools_goes_with_tools(kind: str) -> None:
    made = chat_request({"model": "m", "input": "x", "tools": [FUNCTION], "tool_choice": kind})
    assert made["tool_choice"] == kind
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]}
    made = chat_request({"model": "m", "input": "x", "tools": [FUNCTION], "tool_choice": allowed})
    CHAT.validate_python(made)
    assert made["tool_choice"]["allowed_tools"]["tools"] == [{"type": "function", "function": {"name": "look"}}]


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(NotSupported, match=r"input\[1\]\.content\[0\]\.type") as refused:
        chat_request(
            {"model": "m", "input": [{"role": "user", "content": "x"}, {"role": "user", "content": [{"type": "y"}]}]}
        )
    assert refused.value.code == "not_supported"


WORDS = st.sampled_from(
    ["message", "user", "assistant", "function", "custom", "reasoning", "input_text", "json_schema", "x",
     "function_call", "function_call_output", "input_image", "refusal", "allowed_tools", "item_reference"]
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "type",
        "role",
        "content",
        "text",
        "name",
        "call_id",
        "output",
        "tools",
        "format",
        "summary",
        "arguments",
        "effort",
    ]
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 2), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(request=st.dictionaries(st.sampled_from([*SAID, "input", "instructions"]), ANYTHING))
def test_whatever_is_asked_is_said_or_refused(request: Json) -> None:
    try:
        made = chat_request(request)
    except RequestError as refused:
        assert refused.param  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(made["messages"], list)

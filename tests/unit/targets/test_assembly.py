"""Streams put together: the forms that vendors send beyond plain text."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.targets.assembly import StreamError, assembly_for, raise_error_event
from forebay.targets.sse import event_data, whole_events

CHAT = "/v1/chat/completions"


def assembled(endpoint: str, *events: dict[str, Any], is_finished: bool = True) -> Any:
    assembly = assembly_for(endpoint)
    for event in events:
        assembly.add(event)
    if is_finished:
        assembly.finish()
    assert assembly.is_complete
    return msgspec.json.decode(assembly.body())


def delta(index: int = 0, finish_reason: str | None = None, **members: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": members, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


async def cut(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


EVENTS = st.lists(st.text(alphabet="ab:{}", min_size=1, max_size=20), min_size=1, max_size=8)


@given(EVENTS, st.integers(1, 40), st.sampled_from(["\n", "\r\n"]))
async def test_events_come_out_whole_however_the_bytes_are_cut(texts: list[str], size: int, newline: str) -> None:
    events = [f"data: {text}{newline}{newline}".encode() for text in texts]
    found = [event async for event in whole_events(cut(b"".join(events) + b"data: rest", size))]
    assert found == events
    assert [event_data(event).decode() for event in found] == texts


def test_data_of_several_lines_is_joined_and_comments_have_none() -> None:
    assert event_data(b"event: x\ndata: a\ndata:b\n\n") == b"a\nb"
    assert event_data(b": keep-alive\n\n") == b""


def test_tool_calls_are_put_together_by_their_index() -> None:
    first = {"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}
    second = {"index": 1, "id": "t2", "type": "function", "function": {"name": "g", "arguments": "{"}}
    answer = assembled(
        CHAT,
        delta(role="assistant", content=None, tool_calls=[first]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}, second]),
        delta(tool_calls=[{"index": 1, "function": {"arguments": "}"}}]),
        delta(finish_reason="tool_calls"),
    )
    message = answer["choices"][0]["message"]
    assert [call["function"] for call in message["tool_calls"]] == [
        {"name": "f", "arguments": '{"a":1}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert "index" not in message["tool_calls"][0]
    assert message["role"] == "assistant"
    assert message["content"] is None
    assert answer["object"] == "chat.completion"


def test_choices_are_kept_apart_and_in_order() -> None:
    answer = assembled(CHAT, delta(1, content="b"), delta(0, content="a"), delta(1, "stop", content="B"), delta(0))
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["a", "bB"]


def test_reasoning_text_is_kept_beside_the_content() -> None:
    answer = assembled(CHAT, delta(reasoning_content="so "), delta(reasoning_content="far"), delta(content="x"))
    assert answer["choices"][0]["message"] == {"reasoning_content": "so far", "content": "x"}


def test_a_chat_stream_without_an_end_mark_is_complete_once_each_choice_says_why_it_ended() -> None:
    assembled(CHAT, delta(content="a"), delta(finish_reason="stop"), is_finished=False)
    assembly = assembly_for(CHAT)
    assembly.add(delta(content="a"))
    assert not assembly.is_complete


def test_blocks_of_a_message_are_put_together() -> None:
    answer = assembled(
        "/v1/messages",
        {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 5}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ":1}"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    )
    assert answer["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "tool_use", "name": "f", "input": {"a": 1}},
    ]
    assert answer["stop_reason"] == "tool_use"
    assert answer["usage"] == {"input_tokens": 5, "output_tokens": 9}


def test_an_unknown_endpoint_gives_its_last_event() -> None:
    assert assembled("/v1/images/generations", {"n": 1}, {"n": 2}) == {"n": 2}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"message": "no", "type": "server_error"}}, "server_error"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, "overloaded_error"),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow"}, "error"),
        ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}}, "server_error"),
    ],
)
def test_error_events_are_recognised(event: dict[str, Any], kind: str) -> None:
    with pytest.raises(StreamError) as caught:
        raise_error_event(event)
    assert caught.value.kind == kind


@pytest.mark.parametrize("event", [{"type": "response.created"}, {"choices": [], "error": None}, {}])
def test_other_events_are_no_errors(event: dict[str, Any]) -> None:
    raise_error_event(event)

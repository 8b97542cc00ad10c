"""Chat completions as Responses: however an answer is cut into chunks, and told as events, the Response is the same."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from forebay.policy.responses_answer import ChatAnswer
from forebay.policy.responses_events import events_of
from forebay.policy.responses_view import blank

Json = dict[str, Any]

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TEXT = st.text(min_size=1, max_size=12)
CALL = st.fixed_dictionaries(
    {
        "id": st.text("abc0", min_size=1, max_size=6),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": st.sampled_from(["look", "go"]), "arguments": st.text(max_size=10)}),
    }
)
CUSTOM = st.fixed_dictionaries(
    {
        "id": st.text("abc0", min_size=1, max_size=6),
        "type": st.just("custom"),
        "custom": st.fixed_dictionaries({"name": st.just("code"), "input": st.text(max_size=10)}),
    }
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.just("assistant")},
    optional={
        "reasoning_content": TEXT,
        "content": TEXT,
        "refusal": TEXT,
        "tool_calls": st.lists(st.one_of(CALL, CUSTOM), max_size=3),
    },
)
REASON = st.sampled_from(["stop", "length", "content_filter", "tool_calls", None])
USAGE: Json = {
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def completion(message: Json, reason: str | None = "stop", **members: Any) -> Json:
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion", "created": 9, "model": "m", "choices": [choice], **members}


def answered(*chunks: Json) -> tuple[Json, list[Json]]:
    """The Response that chunks add up to, and the events on the way."""
    answer = ChatAnswer("1")
    events = [copy.deepcopy(event) for chunk in chunks for event in answer.add(chunk)]
    events += [copy.deepcopy(event) for event in answer.finish()]
    return {**blank({"model": "m"}), "id": "resp_1", "created_at": 1, **answer.members()}, events


def chunked(data: st.DataObject, message: Json, reason: str | None) -> list[Json]:
    """The completion as a stream of deltas, each text cut at random."""
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    for member in ("reasoning_content", "content", "refusal"):
        deltas += [{member: piece} for piece in cut(data, message.get(member, ""))]
    for index, call in enumerate(message.get("tool_calls", ())):
        kind, member = ("custom", "input") if call["type"] == "custom" else ("function", "arguments")
        head = {**call, "index": index, kind: {"name": call[kind]["name"], member: ""}}
        pieces = [{"index": index, kind: {member: piece}} for piece in cut(data, call[kind][member])]
        deltas += [{"tool_calls": [one]} for one in [head, *pieces]]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "model": "m"} for delta in deltas]
    ending: Json = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "created": 9}
    return [*chunks, ending, {"choices": [], "usage": USAGE}]


def cut(data: st.DataObject, text: str) -> list[str]:
    places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=3)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)] if text else []


def folded(events: list[Json]) -> list[Json]:
    """What a client makes of the events, item by item, from their deltas alone; the ends must say the same."""
    items: dict[int, Json] = {}
    for event in events:
        at = event["output_index"]
        match event["type"].removeprefix("response.").split("."):
            case ["output_item", "added"]:
                assert at not in items
                items[at] = copy.deepcopy(event["item"])
            case ["content_part", "added"]:
                assert event["content_index"] == len(items[at]["content"])
                items[at]["content"].append(copy.deepcopy(event["part"]))
            case ["output_text" | "reasoning_text", "delta"]:
                part = items[at]["content"][event["content_index"]]
                part["text"] += event["delta"]
                part |= {"logprobs": [*part["logprobs"], *event["logprobs"]]} if event.get("logprobs") else {}
            case ["output_text", "annotation", "added"]:
                items[at]["content"][event["content_index"]]["annotations"].append(event["annotation"])
            case ["refusal", "delta"]:
                items[at]["content"][event["content_index"]]["refusal"] += event["delta"]
            case ["function_call_arguments" | "custom_tool_call_input" as kind, "delta"]:
                items[at][kind.rpartition("_")[2]] += event["delta"]
            case ["content_part", "done"]:
                assert items[at]["content"][event["content_index"]] == event["part"]
            case ["output_item", "done"]:
                assert {**items[at], "status": 0} == {**event["item"], "status": 0}
                items[at] = event["item"]
            case [_, "done"]:
                texts = [event[name] for name in ("text", "refusal", "arguments", "input") if name in event]
                assert texts[0] in [*_texts(items[at]), items[at].get("arguments"), items[at].get("input")]
            case other:
                raise AssertionError(other)
    return [items[at] for at in sorted(items)]


def _texts(item: Json) -> list[str]:
    return [part.get("text", part.get("refusal", "")) for part in item.get("content", ())]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), message=MESSAGE, reason=REASON)
def test_chunks_add_up_to_what_the_whole_completion_gives(
    data: st.DataObject, message: Json, reason: str | None
) -> None:
    whole, told_of_whole = answered(completion(message, reason, usage=USAGE))
    streamed, told = answered(*chunked(data, message, reason))
    assert streamed == whole
    assert folded(told) == folded(told_of_whole) == whole["output"]
    Response.model_validate(whole)
    for number, event in enumerate(told):
        EVENT.validate_python({**event, "sequence_number": number})


@settings(max_examples=40, deadline=None)
@given(message=MESSAGE, reason=REASON)
def test_the_events_made_of_a_whole_output_add_up_to_it(message: Json, reason: str | None) -> None:
    whole, _ = answered(completion(message, reason))
    told = list(events_of(whole["output"]))
    named = {item["id"]: {**item, "status": 0} for item in whole["output"]}
    assert {item["id"]: {**item, "status": 0} for item in folded(told)} == named
    for number, event in enumerate(told):
        EVENT.validate_python({**event, "sequence_number": number})


def test_usage_is_mapped_member_by_member() -> None:
    whole, _ = answered(completion({"content": "x"}, usage=USAGE))
    assert whole["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 12,
    }
    assert answered(completion({"content": "x"}))[0]["usage"] is None


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        (None, "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_a_finish_reason_decides_the_status(reason: str | None, status: str, why: Json | None) -> None:
    whole, _ = answered(completion({"content": "x"}, reason))
    assert (whole["status"], whole["incomplete_details"], whole["output"][0]["status"]) == (status, why, status)


def test_only_the_last_item_of_a_cut_answer_is_incomplete() -> None:
    calls = [{"id": str(n), "type": "function", "function": {"name": "f", "arguments": "{"}} for n in range(2)]
    whole, _ = answered(completion({"content": "so", "tool_calls": calls}, "length"))
    assert [item["status"] for item in whole["output"]] == ["completed", "completed", "incomplete"]


def test_an_answer_without_a_word_is_an_empty_message() -> None:
    whole, _ = answered(completion({"content": None}))
    assert whole["output"][0]["content"] == [{"type": "output_text", "text": "", "annotations": [], "logprobs": []}]


def test_logprobs_and_citations_stand_at_the_text() -> None:
    place = {"start_index": 0, "end_index": 1, "url": "u", "title": "t"}
    citation: Json = {"type": "url_citation", "url_citation": place}
    chat = completion({"content": "x", "annotations": [citation]})
    chat["choices"][0]["logprobs"] = {"content": [{"token": "x", "logprob": -0.5, "top_logprobs": []}]}
    whole, told = answered(chat)
    [part] = whole["output"][0]["content"]
    assert part["annotations"] == [{"type": "url_citation", **place}]
    assert part["logprobs"] == [{"token": "x", "logprob": -0.5, "top_logprobs": [], "bytes": []}]
    assert folded(told) == folded(list(events_of(whole["output"]))) == whole["output"]
    Response.model_validate(whole)


def test_calls_that_grow_side_by_side_stay_apart() -> None:
    def delta(index: int, **function: str) -> Json:
        call = {"index": index, "function": function} | ({"id": f"c{index}"} if "name" in function else {})
        return {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}

    whole, told = answered(
        delta(0, name="a", arguments="{"),
        delta(1, name="b", arguments="["),
        delta(0, arguments="}"),
        delta(1, arguments="]"),
    )
    assert [(item["name"], item["arguments"], item["call_id"]) for item in whole["output"]] == [
        ("a", "{}", "c0"),
        ("b", "[]", "c1"),
    ]
    assert folded(told) == whole["output"]

"""The mock model's answers as streams of events: each function gives the events in order, ready to be sent."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from forebay.testing.mock_model.answers import CREATED_AT, answer_text, message_object, response_object
from forebay.testing.mock_model.request import Request, id_of, tokens_of

END_MARK = b"data: [DONE]\n\n"

EventStream = Callable[[Request, bytes, int], Iterator[bytes]]


def chat_events(request: Request, body: bytes, words: int) -> Iterator[bytes]:
    head = {
        "id": f"chatcmpl-{id_of(body)}",
        "object": "chat.completion.chunk",
        "created": CREATED_AT,
        "model": request.model,
    }
    text = answer_text(request)
    yield _data({**head, "choices": [_delta({"role": "assistant", "content": ""})]})
    for piece in _pieces(text, words):
        yield _data({**head, "choices": [_delta({"content": piece})]})
    yield _data({**head, "choices": [_delta({}, "stop")]})
    if request.stream_options is not None and request.stream_options.include_usage:
        yield _data({**head, "choices": [], "usage": _usage(body, text)})
    yield END_MARK


def completion_events(request: Request, body: bytes, words: int) -> Iterator[bytes]:
    head = {"id": f"cmpl-{id_of(body)}", "object": "text_completion", "created": CREATED_AT, "model": request.model}
    for piece in _pieces(answer_text(request), words):
        yield _data({**head, "choices": [{"index": 0, "text": piece, "logprobs": None, "finish_reason": None}]})
    yield _data({**head, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]})
    yield END_MARK


def response_events(request: Request, body: bytes, words: int) -> Iterator[bytes]:
    whole = response_object(request, body)
    item = whole["output"][0]
    part = item["content"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    opened = {**whole, "status": "in_progress", "output": [], "usage": None}
    begun = {"item": {**item, "status": "in_progress", "content": []}, "output_index": 0}
    events: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": opened}),
        ("response.in_progress", {"response": opened}),
        ("response.output_item.added", begun),
        ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
        *(
            ("response.output_text.delta", {**place, "delta": piece, "logprobs": []})
            for piece in _pieces(part["text"], words)
        ),
        ("response.output_text.done", {**place, "text": part["text"], "logprobs": []}),
        ("response.content_part.done", {**place, "part": part}),
        ("response.output_item.done", {"item": item, "output_index": 0}),
        ("response.completed", {"response": whole}),
    ]
    for number, (kind, members) in enumerate(events):
        yield _named(kind, {"type": kind, "sequence_number": number, **members})


def message_events(request: Request, body: bytes, words: int) -> Iterator[bytes]:
    whole = message_object(request, body)
    text = whole["content"][0]["text"]
    usage = whole["usage"]
    opened = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield _named("message_start", {"message": opened})
    yield _named("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
    yield _named("ping", {})
    for piece in _pieces(text, words):
        yield _named("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": piece}})
    yield _named("content_block_stop", {"index": 0})
    ending = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _named("message_delta", {"delta": ending, "usage": {"output_tokens": usage["output_tokens"]}})
    yield _named("message_stop", {})


STREAMS: dict[str, EventStream] = {
    "/chat/completions": chat_events,
    "/completions": completion_events,
    "/responses": response_events,
    "/messages": message_events,
}


def _pieces(text: str, words: int) -> Iterator[str]:
    parts = text.split(" ")
    for start in range(0, len(parts), max(words, 1)):
        piece = " ".join(parts[start : start + max(words, 1)])
        yield piece if start == 0 else " " + piece


def _delta(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _usage(body: bytes, text: str) -> dict[str, int]:
    entered, left = tokens_of(body), tokens_of(text)
    return {"prompt_tokens": entered, "completion_tokens": left, "total_tokens": entered + left}


def _data(event: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


def _named(kind: str, members: dict[str, Any]) -> bytes:
    return f"event: {kind}\n".encode() + _data({"type": kind, **members})

"""The events of a Response's stream, without their numbers; pure. ``events_of`` makes them of a whole output."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_OPEN = {"status": "in_progress"}


def item_added(item: Json, at: int) -> Json:
    return {"type": "response.output_item.added", "output_index": at, "item": item}


def item_done(item: Json, at: int) -> Json:
    return {"type": "response.output_item.done", "output_index": at, "item": item}


def part_added(item: Json, at: int, index: int, part: Json) -> Json:
    return {"type": "response.content_part.added", **place_of(item, at, index), "part": part}


def part_done(item: Json, at: int, index: int, part: Json) -> Json:
    return {"type": "response.content_part.done", **place_of(item, at, index), "part": part}


def place_of(item: Json, at: int, index: int | None = None) -> Json:
    """Which item, and which part of it, an event is about."""
    place = {"item_id": item.get("id", ""), "output_index": at}
    return place if index is None else {**place, "content_index": index}


def said(kind: str, item: Json, at: int, index: int | None, delta: str) -> Json:
    """A delta of the kind: ``output_text``, ``refusal``, ``reasoning_text``, ``function_call_arguments``, …"""
    event = {"type": f"response.{kind}.delta", **place_of(item, at, index), "delta": delta}
    return {**event, "logprobs": []} if kind == "output_text" else event


def events_of(output: Any) -> Iterator[Json]:
    """The events that tell a whole output, each text as one delta."""
    for at, item in enumerate(output if isinstance(output, list) else ()):
        if not isinstance(item, dict):
            continue
        match item.get("type"):
            case "message":
                yield item_added({**item, **_OPEN, "content": []}, at)
                yield from _content(item, at)
            case "reasoning":
                yield item_added(
                    {**item, **_OPEN, "summary": [], **({"content": []} if item.get("content") else {})}, at
                )
                yield from _summary(item, at)
                yield from _content(item, at)
            case "function_call":
                yield item_added({**item, **_OPEN, "arguments": ""}, at)
                yield from call_events("function_call_arguments", "arguments", item, at)
            case "custom_tool_call":
                yield item_added({**item, "input": ""}, at)
                yield from call_events("custom_tool_call_input", "input", item, at)
            case _:
                yield item_added(item, at)
        yield item_done(item, at)


def call_events(kind: str, member: str, item: Json, at: int) -> Iterator[Json]:
    """The whole of what a tool is called with."""
    if item.get(member):
        yield said(kind, item, at, None, item[member])
    yield call_done(kind, member, item, at)


def call_done(kind: str, member: str, item: Json, at: int) -> Json:
    named = {"name": item.get("name", "")} if member == "arguments" else {}
    return {"type": f"response.{kind}.done", **place_of(item, at), **named, member: item.get(member) or ""}


def text_done(item: Json, at: int, index: int, part: Json) -> Json:
    """The end of a part's text."""
    place = place_of(item, at, index)
    match part["type"]:
        case "output_text":
            logprobs = part.get("logprobs") or []
            return {"type": "response.output_text.done", **place, "text": part.get("text", ""), "logprobs": logprobs}
        case "refusal":
            return {"type": "response.refusal.done", **place, "refusal": part.get("refusal", "")}
        case _:
            return {"type": "response.reasoning_text.done", **place, "text": part.get("text", "")}


def annotation_added(item: Json, at: int, index: int, number: int, annotation: Json) -> Json:
    kind = "response.output_text.annotation.added"
    return {"type": kind, **place_of(item, at, index), "annotation_index": number, "annotation": annotation}


_TEXTS = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}


def _content(item: Json, at: int) -> Iterator[Json]:
    for index, part in enumerate(item.get("content") or ()):
        member = _TEXTS.get(part.get("type", "")) if isinstance(part, dict) else None
        if member is None:
            continue
        bare = {**part, member: ""}
        if part["type"] == "output_text":
            bare |= {"annotations": [], "logprobs": []}
        yield part_added(item, at, index, bare)
        if part.get(member):
            told = said(part["type"], item, at, index, part[member])
            yield {**told, "logprobs": part["logprobs"]} if part.get("logprobs") else told
        yield text_done(item, at, index, part)
        for number, annotation in enumerate(part.get("annotations") or ()):
            yield annotation_added(item, at, index, number, annotation)
        yield part_done(item, at, index, part)


def _summary(item: Json, at: int) -> Iterator[Json]:
    for index, part in enumerate(item.get("summary") or ()):
        if not isinstance(part, dict):
            continue
        place = {**place_of(item, at), "summary_index": index}
        text = part.get("text", "")
        yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
        yield {"type": "response.reasoning_summary_text.delta", **place, "delta": text}
        yield {"type": "response.reasoning_summary_text.done", **place, "text": text}
        yield {"type": "response.reasoning_summary_part.done", **place, "part": part}

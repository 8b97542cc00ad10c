"""What chat completions answered as a Response: chunk by chunk as events, and at the end as the whole. Pure.

The same path reads a whole answer, as one chunk: however an answer was cut into chunks, the Response is the same.
"""

from collections.abc import Iterator
from typing import Any

from forebay.policy.responses_events import (
    annotation_added,
    call_done,
    item_added,
    item_done,
    part_added,
    part_done,
    said,
    text_done,
)

Json = dict[str, Any]

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
_MESSAGE: Json = {"role": "assistant"}
_THOUGHTS = ("reasoning_content", "reasoning")  # DeepSeek's and vLLM's name, and OpenRouter's and Ollama's


class ChatAnswer:
    """Takes chunks (or one whole completion), gives events without numbers, and ends as a Response's members."""

    def __init__(self, name: str) -> None:
        """``name``: what the items' ids are made of, the response's own."""
        self._name = name
        self._items: list[Json] = []  # by output_index; a text part or a call grows in place
        self._open: list[int] = []
        self._calls: dict[Any, _Call] = {}
        self._reason: str | None = None
        self._head: Json = {}
        self.has_answer = False

    def add(self, chunk: Json) -> Iterator[Json]:
        """Yields the events that the chunk stands for; exhaust it before the next one."""
        for member in ("model", "created", "service_tier", "usage"):
            if chunk.get(member) is not None:
                self._head[member] = chunk[member]
        for choice in chunk.get("choices") or ():
            self.has_answer = True
            if choice.get("index"):
                continue  # one answer was asked for
            delta = choice.get("delta") or choice.get("message") or {}
            logprobs = [_logprob(one) for one in (choice.get("logprobs") or {}).get("content") or ()]
            yield from self._say("reasoning", "reasoning_text", next(filter(None, map(delta.get, _THOUGHTS)), None))
            yield from self._say("message", "output_text", _plain(delta.get("content")), logprobs)
            yield from self._say("message", "refusal", delta.get("refusal"))
            yield from self._annotate(delta.get("annotations") or ())
            for place, call in enumerate(delta.get("tool_calls") or ()):
                named = call.get("id") if "delta" in choice else None  # some servers number no deltas
                yield from self._call(call, call.get("index", named or place))
            self._reason = choice.get("finish_reason") or self._reason

    def finish(self) -> Iterator[Json]:
        """Yields the events of what is still open."""
        for call in self._calls.values():
            if call.at is None:
                yield from self._open_call(call)
        if not self._items:
            yield from self._part("message", "output_text")
        yield from self._close(len(self._items), "incomplete" if self._reason in _REASONS else "completed")

    def members(self) -> Json:
        """What the answer gives a Response, after ``finish``."""
        reason = _REASONS.get(self._reason or "")
        made: Json = {
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "output": self._items,
            "usage": _usage(self._head.get("usage")),
        }
        kept = {"model": "model", "created_at": "created", "service_tier": "service_tier"}
        return made | {ours: self._head[theirs] for ours, theirs in kept.items() if theirs in self._head}

    def _say(self, kind: str, part_type: str, text: Any, logprobs: list[Json] | None = None) -> Iterator[Json]:
        if not isinstance(text, str) or not text:
            return
        yield from self._part(kind, part_type)
        at = self._open[-1]
        item = self._items[at]
        part = item["content"][-1]
        part["refusal" if part_type == "refusal" else "text"] += text
        event = said(part_type, item, at, len(item["content"]) - 1, text)
        if logprobs:
            part["logprobs"] += logprobs
            event["logprobs"] = [dict(one) for one in logprobs]
        yield event

    def _part(self, kind: str, part_type: str) -> Iterator[Json]:
        """Sees to it that a part of that type is the last one open."""
        at = self._open[-1] if self._open else None
        item = None if at is None else self._items[at]
        if at is None or item is None or item["type"] != kind:
            yield from self._close_text()
            item = self._new(kind, "msg" if kind == "message" else "rs", {"content": []})
            item |= _MESSAGE if kind == "message" else {"summary": []}
            at = self._open[-1]
            yield item_added({**item, "content": []}, at)
        parts = item["content"]
        if not parts or parts[-1]["type"] != part_type:
            if parts:
                yield from self._close_part(item, at)
            parts.append(_empty(part_type))
            yield part_added(item, at, len(parts) - 1, _empty(part_type))

    def _annotate(self, annotations: Any) -> Iterator[Json]:
        """Citations are the last message's; without one they are about nothing."""
        for annotation in annotations:
            at = self._open[-1] if self._open else None
            item = None if at is None else self._items[at]
            if at is None or item is None or item["type"] != "message" or item["content"][-1]["type"] != "output_text":
                return
            kind = annotation.get("type")
            made = {"type": kind, **(annotation.get(kind) or {})}
            index = len(item["content"]) - 1
            known = item["content"][-1]["annotations"]
            known.append(made)
            yield annotation_added(item, at, index, len(known) - 1, made)

    def _call(self, delta: Json, key: Any) -> Iterator[Json]:
        call = self._calls.setdefault(key, _Call())
        told = delta.get("custom") or delta.get("function") or {}
        call.is_custom = call.is_custom or "custom" in delta
        call.id = call.id or delta.get("id") or ""
        call.name = call.name or told.get("name") or ""
        piece = told.get("input" if call.is_custom else "arguments") or ""
        call.text += piece
        if call.at is not None:
            item = self._items[call.at]
            item[call.member] = call.text
            if piece:
                yield said(call.kind, item, call.at, None, piece)
        elif call.name:
            yield from self._open_call(call)

    def _open_call(self, call: "_Call") -> Iterator[Json]:
        yield from self._close_text()
        at = call.at = len(self._items)
        named = {"call_id": call.id or f"call_{self._name}_{at}", "name": call.name}
        if call.is_custom:
            item = self._new("custom_tool_call", "ctc", {**named, "input": call.text})
            del item["status"]
        else:
            item = self._new("function_call", "fc", {**named, "arguments": call.text})
        yield item_added({**item, call.member: ""}, at)
        if call.text:
            yield said(call.kind, item, at, None, call.text)

    def _new(self, kind: str, prefix: str, members: Json) -> Json:
        at = len(self._items)
        item = {"id": f"{prefix}_{self._name}_{at}", "type": kind, "status": "in_progress", **members}
        self._items.append(item)
        self._open.append(at)
        return item

    def _close_text(self) -> Iterator[Json]:
        """Ends the message or the reasoning before what follows it; calls may still grow."""
        if self._open and "content" in self._items[self._open[-1]]:
            yield from self._close(1, "completed")

    def _close(self, count: int, status: str) -> Iterator[Json]:
        """Ends the last open items, in their order; the status is the last one's."""
        for at in self._open[-count:]:
            item = self._items[at]
            if "status" in item:
                item["status"] = status if at == self._open[-1] else "completed"
            if item.get("content"):
                yield from self._close_part(item, at)
            elif item["type"] == "function_call":
                yield call_done("function_call_arguments", "arguments", item, at)
            elif item["type"] == "custom_tool_call":
                yield call_done("custom_tool_call_input", "input", item, at)
            yield item_done(_copied(item), at)
        del self._open[-count:]

    def _close_part(self, item: Json, at: int) -> Iterator[Json]:
        index = len(item["content"]) - 1
        part = item["content"][-1]
        yield text_done(item, at, index, part)
        yield part_done(item, at, index, dict(part))


class _Call:
    """A call of a tool that grows; ``at`` once its name is known."""

    __slots__ = ("at", "id", "is_custom", "name", "text")

    def __init__(self) -> None:
        self.at: int | None = None
        self.id = self.name = self.text = ""
        self.is_custom = False

    @property
    def member(self) -> str:
        return "input" if self.is_custom else "arguments"

    @property
    def kind(self) -> str:
        return "custom_tool_call_input" if self.is_custom else "function_call_arguments"


def _copied(item: Json) -> Json:
    return {**item, "content": [dict(part) for part in item["content"]]} if "content" in item else dict(item)


def _empty(part_type: str) -> Json:
    if part_type == "output_text":
        return {"type": part_type, "text": "", "annotations": [], "logprobs": []}
    return {"type": part_type, "refusal" if part_type == "refusal" else "text": ""}


def _plain(content: Any) -> Any:
    """Text, or the texts of a list of parts, as some servers answer."""
    if not isinstance(content, list):
        return content
    return "".join(part.get("text") or "" for part in content if isinstance(part, dict))


def _logprob(given: Json) -> Json:
    """Some servers leave out the bytes, which a Response always has."""
    top = [{**one, "bytes": one.get("bytes") or []} for one in given.get("top_logprobs") or ()]
    return {**given, "bytes": given.get("bytes") or [], "top_logprobs": top}


def _usage(given: Any) -> Json | None:
    if not isinstance(given, dict):
        return None
    entered, left = given.get("prompt_tokens") or 0, given.get("completion_tokens") or 0
    details = given.get("prompt_tokens_details") or {}
    cached = {name: details.get(name) or 0 for name in ("cached_tokens", "cache_write_tokens")}
    reasoning = (given.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": entered,
        "input_tokens_details": cached,
        "output_tokens": left,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": given.get("total_tokens") or entered + left,
    }

"""Puts the events of a stream together to the answer that the same request would have had without a stream."""

from typing import Any, Protocol

import msgspec

_SET_ONCE = frozenset({"id", "type", "role", "name", "object", "model", "finish_reason", "stop_reason"})
_DELTA_MEMBERS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
_FINAL_RESPONSES = frozenset({"response.completed", "response.incomplete"})

Json = dict[str, Any]


class StreamError(Exception):
    """The upstream said in an event that the call failed. ``kind`` is the vendor's own name of the fault."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Assembly(Protocol):
    """The sum of a stream's events."""

    @property
    def is_complete(self) -> bool:
        """False: the stream ended before its end."""
        ...

    @property
    def is_ended(self) -> bool:
        """The vendor's own end mark has come: nothing that follows belongs to the answer."""
        ...

    def add(self, event: Json) -> None: ...

    def finish(self) -> None:
        """Notes the end mark ``[DONE]``."""
        ...

    def body(self) -> bytes: ...


def assembly_for(endpoint: str) -> Assembly:
    """Chooses by the endpoint; unknown ones give the last event's data."""
    if endpoint.endswith("/completions"):
        return ChoicesAssembly()
    if endpoint.endswith("/messages"):
        return MessageAssembly()
    return LastAssembly(awaits_response=endpoint.endswith("/responses"))


def raise_error_event(event: Json) -> None:
    """Raises: StreamError: the event tells of an error, in OpenAI's or Anthropic's form."""
    error = event.get("error")
    if event.get("type") == "response.failed":
        error = (event.get("response") or {}).get("error") or "the response failed"
    elif not error and event.get("type") != "error":
        return
    told = error if isinstance(error, dict) else event
    message = told.get("message") or (error if isinstance(error, str) else "the stream ended in an error event")
    raise StreamError(str(message), str(told.get("type") or told.get("code") or "error"))


class ChoicesAssembly:
    """Chat completions (``delta`` becomes ``message``) and completions (``text``)."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._choices: dict[int, Json] = {}
        self._usage: Json | None = None
        self._is_finished = False

    @property
    def is_complete(self) -> bool:
        if self._is_finished:
            return True  # servers that leave out the end mark still say why each choice ended
        return bool(self._choices) and all(choice.get("finish_reason") for choice in self._choices.values())

    @property
    def is_ended(self) -> bool:
        return self._is_finished

    def add(self, event: Json) -> None:
        for choice in event.pop("choices", None) or ():
            if "delta" in choice:
                choice["message"] = choice.pop("delta") or {}
            known = self._choices.setdefault(choice.get("index", 0), {})
            merge(known, choice)
        self._usage = event.pop("usage", None) or self._usage
        for name, value in event.items():
            if self._head.get(name) is None:
                self._head[name] = value

    def finish(self) -> None:
        self._is_finished = True

    def body(self) -> bytes:
        head = dict(self._head)
        if head.get("object") == "chat.completion.chunk":
            head["object"] = "chat.completion"
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            for tool_call in (choice.get("message") or {}).get("tool_calls") or ():
                tool_call.pop("index", None)
        return msgspec.json.encode({**head, "choices": choices, "usage": self._usage})


class MessageAssembly:
    """Anthropic's message events."""

    def __init__(self) -> None:
        self._message: Json = {}
        self._blocks: dict[int, Json] = {}
        self._inputs: dict[int, str] = {}
        self._is_finished = False

    @property
    def is_complete(self) -> bool:
        return self._is_finished

    @property
    def is_ended(self) -> bool:
        return self._is_finished

    def add(self, event: Json) -> None:
        index = event.get("index", 0)
        match event.get("type"):
            case "message_start":
                self._message = event["message"]
            case "content_block_start":
                self._blocks[index] = event["content_block"]
            case "content_block_delta":
                self._add_delta(index, event["delta"])
            case "message_delta":
                self._message.update(event["delta"])
                counts = event.get("usage") or {}
                known = self._message.setdefault("usage", {})
                known.update({name: count for name, count in counts.items() if count is not None})
            case "message_stop":
                self._is_finished = True

    def finish(self) -> None:
        """Nothing: Anthropic ends with ``message_stop``."""

    def body(self) -> bytes:
        for index, text in self._inputs.items():
            self._blocks[index]["input"] = msgspec.json.decode(text or "{}")
        content = [self._blocks[index] for index in sorted(self._blocks)]
        return msgspec.json.encode({**self._message, "content": content})

    def _add_delta(self, index: int, delta: Json) -> None:
        block = self._blocks.setdefault(index, {})
        kind = delta.get("type", "")
        if kind == "input_json_delta":
            self._inputs[index] = self._inputs.get(index, "") + delta.get("partial_json", "")
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        elif kind in _DELTA_MEMBERS:
            member = _DELTA_MEMBERS[kind]
            block[member] = (block.get(member) or "") + delta.get(member, "")


class LastAssembly:
    """The last event's data; of OpenAI's Responses the response in it."""

    def __init__(self, *, awaits_response: bool) -> None:
        self._awaits_response = awaits_response
        self._last: Json = {}
        self._response: Json | None = None
        self._is_marked = False

    @property
    def is_complete(self) -> bool:
        return self._response is not None or (not self._awaits_response and bool(self._last))

    @property
    def is_ended(self) -> bool:
        return self._is_marked or self._response is not None

    def add(self, event: Json) -> None:
        self._last = event
        if event.get("type") in _FINAL_RESPONSES:
            self._response = event["response"]

    def finish(self) -> None:
        self._is_marked = True

    def body(self) -> bytes:
        return msgspec.json.encode(self._last if self._response is None else self._response)


def merge(known: Json, delta: Json) -> None:
    """Adds a delta: text is appended, lists with ``index`` are merged by it, other lists extended."""
    for name, value in delta.items():
        before = known.get(name)
        if value is None or before is None:
            known[name] = before if value is None else _copied(value)
        elif isinstance(value, str) and isinstance(before, str):
            known[name] = before if name in _SET_ONCE and before else before + value
        elif isinstance(value, dict) and isinstance(before, dict):
            merge(before, value)
        elif isinstance(value, list) and isinstance(before, list):
            _merge_list(before, value)
        else:
            known[name] = value


def _merge_list(known: list[Any], delta: list[Any]) -> None:
    for item in delta:
        index = item.get("index") if isinstance(item, dict) else None
        before = next((one for one in known if isinstance(one, dict) and one.get("index") == index), None)
        if index is None or before is None:
            known.append(item)
        else:
            merge(before, item)


def _copied(value: Any) -> Any:
    """A list may hold several deltas of one index; merge them from the start."""
    if not isinstance(value, list):
        return value
    fresh: list[Any] = []
    _merge_list(fresh, value)
    return fresh

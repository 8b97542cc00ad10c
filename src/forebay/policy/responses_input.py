"""The input of a Responses request as messages of chat completions. Called by ``responses_request``; pure.

Items become messages in their order. Calls of tools that follow one another, and what the assistant said before them,
are one message, as chat completions has it. What has no place there is refused with the path to it.
"""

from typing import Any

from forebay.domain.errors import NotSupported, RequestError

Json = dict[str, Any]

_SYSTEM_ROLES = frozenset({"system", "developer"})
_THOUGHT = {"role", "reasoning_content"}  # a message that is nothing else yet
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def unsupported(param: str, what: str) -> NotSupported:
    """The refusal of what chat completions can't say."""
    message = f"{param}: {what} can't be asked of a target that speaks chat completions alone"
    return NotSupported(message, param=param, code="not_supported")


def wrong(param: str, expected: str) -> RequestError:
    """The refusal of what is no Responses request."""
    return RequestError(f"{param}: it must be {expected}", param=param)


def messages_of(given: Any, instructions: Any) -> list[Json]:
    """Makes the messages. Raises: RequestError, NotSupported: with ``param``."""
    messages: list[Json] = []
    if isinstance(instructions, str):
        messages.append({"role": "system", "content": instructions})
    elif instructions is not None:
        raise wrong("instructions", "a string")
    if isinstance(given, str):
        messages.append({"role": "user", "content": given})
        return messages
    if not isinstance(given, list):
        raise wrong("input", "a string or a list of items")
    for index, item in enumerate(given):
        _add_item(messages, item, f"input[{index}]")
    _end_reasoning(messages)
    return _merged_head(messages)


def _add_item(messages: list[Json], item: Any, place: str) -> None:
    if not isinstance(item, dict):
        raise wrong(place, "an object")
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    match kind:
        case "message":
            _add_message(messages, item, place)
        case "function_call" | "custom_tool_call":
            _assistant(messages).setdefault("tool_calls", []).append(_tool_call(item, kind, place))
        case "function_call_output" | "custom_tool_call_output":
            _end_reasoning(messages)
            content = _output(item.get("output"), f"{place}.output")
            messages.append({"role": "tool", "tool_call_id": _text(item, "call_id", place), "content": content})
        case "reasoning":
            _add_reasoning(messages, item, place)
        case _:
            raise unsupported(f"{place}.type", f"an item of type {kind!r}")


def _add_message(messages: list[Json], item: Json, place: str) -> None:
    asked = item.get("role")
    role = _ROLES.get(asked) if isinstance(asked, str) else None
    if role is None:
        raise wrong(f"{place}.role", f"one of {', '.join(_ROLES)}")
    if item.get("phase") is not None and role != "assistant":
        raise unsupported(f"{place}.phase", "a phase")
    if role != "assistant":
        _end_reasoning(messages)
        messages.append({"role": role, "content": _content(item.get("content"), f"{place}.content")})
        return
    said = _said(item.get("content"), f"{place}.content")
    if messages and messages[-1].keys() == _THOUGHT:
        messages[-1].update(said)
    else:
        messages.append({"role": "assistant", **said})


def _assistant(messages: list[Json]) -> Json:
    """The assistant's message that a call belongs to."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("content", None)
    return messages[-1]


def _add_reasoning(messages: list[Json], item: Json, place: str) -> None:
    """The model's thoughts go back to it under the name by which chat servers give them."""
    if item.get("encrypted_content"):
        raise unsupported(f"{place}.encrypted_content", "encrypted reasoning")
    parts = [part for name in ("summary", "content") if isinstance(item.get(name), list) for part in item[name]]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    text = "\n".join(one for one in texts if isinstance(one, str))
    if text:
        _end_reasoning(messages)
        messages.append({"role": "assistant", "reasoning_content": text})


def _end_reasoning(messages: list[Json]) -> None:
    """Thoughts that nothing came of are a message all the same, and a message has content."""
    if messages and messages[-1].keys() == _THOUGHT:
        messages[-1]["content"] = ""


def _tool_call(item: Json, kind: str, place: str) -> Json:
    call = {"id": _text(item, "call_id", place)}
    if item.get("namespace") is not None:
        raise unsupported(f"{place}.namespace", "a namespace")
    name = _text(item, "name", place)
    if kind == "function_call":
        return {**call, "type": "function", "function": {"name": name, "arguments": _text(item, "arguments", place)}}
    return {**call, "type": "custom", "custom": {"name": name, "input": _text(item, "input", place)}}


def _output(output: Any, place: str) -> Any:
    """What a tool gave: text, or parts of text, which is all that chat completions takes from a tool."""
    if isinstance(output, str):
        return output
    if not isinstance(output, list):
        raise wrong(place, "a string or a list of parts")
    parts = []
    for index, part in enumerate(output):
        if not isinstance(part, dict) or part.get("type") != "input_text":
            raise unsupported(f"{place}[{index}].type", "anything but text from a tool")
        parts.append({"type": "text", "text": _text(part, "text", f"{place}[{index}]")})
    return _simplest(parts)


def _said(content: Any, place: str) -> Json:
    """What the assistant said before, its text or its refusal."""
    if isinstance(content, str):
        return {"content": content}
    if not isinstance(content, list):
        raise wrong(place, "a string or a list of parts")
    texts, refusals = [], []
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "refusal":
            refusals.append(_text(part, "refusal", f"{place}[{index}]"))
        elif kind in ("output_text", "input_text"):
            texts.append(_text(part, "text", f"{place}[{index}]"))
        else:
            raise unsupported(f"{place}[{index}].type", f"a part of type {kind!r} of the assistant's")
    said: Json = {"content": "".join(texts) if texts or not refusals else None}
    return {**said, "refusal": "".join(refusals)} if refusals else said


def _content(content: Any, place: str) -> Any:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(place, "a string or a list of parts")
    return _simplest([_part(part, f"{place}[{index}]") for index, part in enumerate(content)])


def _simplest(parts: list[Json]) -> Any:
    """One part of text is that text: servers that know no parts understand it too."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _part(part: Any, place: str) -> Json:
    match part.get("type") if isinstance(part, dict) else None:
        case "input_text" | "output_text":
            return {"type": "text", "text": _text(part, "text", place)}
        case "input_image":
            if part.get("file_id") is not None:
                raise unsupported(f"{place}.file_id", "an image by file id")
            image = {"url": _text(part, "image_url", place)}
            return {"type": "image_url", "image_url": image | _kept(part, "detail")}
        case "input_file":
            for name in ("file_id", "file_url"):
                if part.get(name) is not None:
                    raise unsupported(f"{place}.{name}", f"a file by {name}")
            return {"type": "file", "file": {"file_data": _text(part, "file_data", place)} | _kept(part, "filename")}
        case "input_audio" if isinstance(part.get("input_audio"), dict):
            return {"type": "input_audio", "input_audio": part["input_audio"]}
        case kind:
            raise unsupported(f"{place}.type", f"a part of type {kind!r}")


def _merged_head(messages: list[Json]) -> list[Json]:
    """One system message at the beginning: many models' templates take no second one."""
    count = next((at for at, one in enumerate(messages) if one["role"] not in _SYSTEM_ROLES), len(messages))
    if count < 2:
        return messages
    texts = [_plain(message["content"]) for message in messages[:count]]
    if None in texts:
        return messages
    return [{"role": "system", "content": "\n\n".join(map(str, texts))}, *messages[count:]]


def _plain(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if any(part["type"] != "text" for part in content):
        return None
    return "".join(part["text"] for part in content)


def _text(item: Json, name: str, place: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise wrong(f"{place}.{name}", "a string")
    return value


def _kept(part: Json, name: str) -> Json:
    return {name: part[name]} if part.get(name) is not None else {}

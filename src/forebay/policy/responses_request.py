"""A Responses request as a request of chat completions, for targets that speak nothing else. Pure.

Every member of the request is sent on, has a meaning here (``CONSUMED``), or is refused; none is dropped. Members that
neither API knows go through, as they are of use to the servers that know them (``top_k``, ``chat_template_kwargs``).
Source: https://platform.openai.com/docs/api-reference/responses/create (November 2026)
"""

from typing import Any

from forebay.policy.responses_input import Json, messages_of, unsupported, wrong

#: Ours, or told back in the Response: nothing of them concerns the model.
CONSUMED = frozenset({"background", "stream", "store", "metadata", "max_tool_calls"})

_MADE_FROM = frozenset(
    {
        *CONSUMED,
        "input", "instructions", "max_output_tokens", "tools", "tool_choice", "parallel_tool_calls", "text",
        "reasoning", "include", "top_logprobs", "truncation", "stream_options",
    }
)  # fmt: skip
_REFUSED = {
    "previous_response_id": "the response before it",
    "conversation": "a conversation that the vendor keeps",
    "prompt": "a prompt template",
    "context_management": "management of the context",
    "moderation": "moderation on the way",
    "access_programs": "an access program",
    "image": "an image's options",
    "prompt_cache_options": "options of the prompt cache",
    "n": "more than one answer",
    "modalities": "an answer in another form than text",
    "audio": "an answer in another form than text",
    "functions": "the older form of tools",
    "function_call": "the older form of tools",
    "messages": "a request of chat completions",
}
#: About tools that are refused, so that they ask for nothing; or about what every answer has.
_VOID_INCLUDES = frozenset(
    {
        "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
        "message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
    }
)  # fmt: skip
_LOGPROBS = "message.output_text.logprobs"
_CHOICES = frozenset({"auto", "none", "required"})
_TOOL_MEMBERS = frozenset({"type", "name", "parameters", "strict", "description"})


def chat_request(request: Json) -> Json:
    """Makes the request of chat completions, without ``stream``. Raises: RequestError, NotSupported: with ``param``."""
    for name, what in _REFUSED.items():
        if request.get(name) is not None:
            raise unsupported(name, what)
    chat: Json = {name: value for name, value in request.items() if name not in _MADE_FROM and value is not None}
    chat["messages"] = messages_of(request.get("input"), request.get("instructions"))
    if request.get("max_output_tokens") is not None:
        chat["max_tokens"] = request["max_output_tokens"]  # known to every server, unlike max_completion_tokens
    if request.get("truncation") not in (None, "disabled"):
        raise unsupported("truncation", "truncation")
    options = _object(request, "stream_options")
    if options.get("include_obfuscation"):
        raise unsupported("stream_options.include_obfuscation", "obfuscation")
    return chat | _tools(request) | _text(request) | _reasoning(request) | _logprobs(request)


def _tools(request: Json) -> Json:
    tools = request.get("tools") or []
    if not isinstance(tools, list):
        raise wrong("tools", "a list")
    choice = request.get("tool_choice")
    made: Json = {} if choice is None else {"tool_choice": _choice(choice)}
    if not tools:
        return {} if made.get("tool_choice") in ("auto", "none") else made
    made["tools"] = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]
    if request.get("parallel_tool_calls") is not None:
        made["parallel_tool_calls"] = request["parallel_tool_calls"]
    return made


def _tool(tool: Any, place: str) -> Json:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind == "custom":
        return {
            "type": "custom",
            "custom": {name: value for name, value in tool.items() if name != "type"} | _form(tool),
        }
    if kind != "function":
        raise unsupported(f"{place}.type", f"a tool of type {kind!r}")
    for name, value in tool.items():
        if name not in _TOOL_MEMBERS and value not in (None, False, ["direct"]):
            raise unsupported(f"{place}.{name}", f"a function's {name}")
    function = {name: tool[name] for name in _TOOL_MEMBERS - {"type"} if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _form(tool: Json) -> Json:
    """A custom tool's grammar stands one level deeper in chat completions."""
    form = tool.get("format")
    if not isinstance(form, dict) or form.get("type") != "grammar":
        return {}
    return {"format": {"type": "grammar", "grammar": {name: form[name] for name in form if name != "type"}}}


def _choice(choice: Any) -> Any:
    if isinstance(choice, str) and choice in _CHOICES:
        return choice
    kind = choice.get("type") if isinstance(choice, dict) else None
    match kind:
        case "function" | "custom":
            return {"type": kind, kind: {"name": choice.get("name")}}
        case "allowed_tools":
            tools = choice.get("tools")
            if not isinstance(tools, list):
                raise wrong("tool_choice.tools", "a list")
            named = [_choice(tool) for tool in tools]
            return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": named}}
        case _:
            raise unsupported("tool_choice", f"the choice {kind or choice!r}")


def _text(request: Json) -> Json:
    text = _object(request, "text")
    made: Json = {}
    for name, value in text.items():
        if name == "verbosity" and value is not None:
            made["verbosity"] = value
        elif name == "format" and value is not None:
            made |= _format(value)
        elif value is not None:
            raise unsupported(f"text.{name}", f"{name!r}")
    return made


def _format(form: Any) -> Json:
    match form.get("type") if isinstance(form, dict) else None:
        case "text":
            return {}
        case "json_object":
            return {"response_format": {"type": "json_object"}}
        case "json_schema":
            schema = {name: value for name, value in form.items() if name != "type" and value is not None}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        case kind:
            raise unsupported("text.format.type", f"the format {kind!r}")


def _reasoning(request: Json) -> Json:
    made: Json = {}
    for name, value in _object(request, "reasoning").items():
        if name == "effort" and value is not None:
            made["reasoning_effort"] = value
        elif value is not None:
            raise unsupported(f"reasoning.{name}", f"reasoning's {name}")
    return made


def _logprobs(request: Json) -> Json:
    asked = request.get("include") or []
    if not isinstance(asked, list):
        raise wrong("include", "a list")
    for name in asked:
        if name != _LOGPROBS and not (isinstance(name, str) and name in _VOID_INCLUDES):
            raise unsupported("include", f"{name!r}")
    if request.get("top_logprobs") is not None:
        return {"logprobs": True, "top_logprobs": request["top_logprobs"]}
    return {"logprobs": True} if _LOGPROBS in asked else {}


def _object(request: Json, name: str) -> Json:
    value = request.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(name, "an object")
    return value

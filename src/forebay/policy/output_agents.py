"""What an agent or a tool said: the words or the data in a task or a message of A2A, or in a tool's result of MCP."""

from collections.abc import Mapping
from typing import Any

from forebay.domain.record import Record

_STATES = "TASK_STATE_"
_AGENT = "ROLE_AGENT"
_WRAPPED = "result"  # the one member in which servers wrap what is no object


class Said(Record, frozen=True, kw_only=True):
    """``value``: a text, or data where there are no words; None: neither."""

    value: Any


def read_said(answer: Mapping[str, Any]) -> Said | None:
    """Reads an answer's body. None: it is of none of these shapes."""
    status, parts, content = answer.get("status"), answer.get("parts"), answer.get("content")
    if isinstance(status, Mapping) and str(status.get("state", "")).startswith(_STATES):
        return _of_task(answer, status)
    if answer.get("role") == _AGENT and isinstance(parts, list):
        return Said(value=_of_parts(parts))
    if isinstance(answer.get("isError"), bool) and isinstance(content, list):
        return _of_tool(answer, content)
    return None


def _of_task(task: Mapping[str, Any], status: Mapping[str, Any]) -> Said:
    """The artifacts are the result; an agent that made none may have said it as it ended."""
    artifacts = [one for one in _list(task.get("artifacts")) if isinstance(one, Mapping)]
    parts = [part for artifact in artifacts for part in _list(artifact.get("parts"))]
    message = status.get("message")
    if not parts and isinstance(message, Mapping):
        parts = _list(message.get("parts"))
    return Said(value=_of_parts(parts))


def _of_parts(parts: list[Any]) -> Any:
    texts = [part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
    if texts:
        return "\n".join(texts)
    data = [part["data"] for part in parts if isinstance(part, Mapping) and "data" in part]
    return data[0] if len(data) == 1 else data or None


def _of_tool(result: Mapping[str, Any], content: list[Any]) -> Said:
    structured = result.get("structuredContent")
    if isinstance(structured, Mapping):
        is_wrapped = set(structured) == {_WRAPPED}
        return Said(value=structured[_WRAPPED] if is_wrapped else structured)
    texts = [one["text"] for one in content if isinstance(one, Mapping) and isinstance(one.get("text"), str)]
    return Said(value="\n".join(texts) if texts else None)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

"""What a model said: the text or the vectors in an answer's body, whichever vendor's shape it has.

Called by `forebay run` (the column `output`) and by the infer handler (what a schema is held against).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forebay.domain.record import Record
from forebay.policy.output_agents import read_said


class Output(Record, frozen=True, kw_only=True):
    """``value``: text, one vector, a list of vectors, or the whole body where its shape is nobody's. ``refusal``: the
    model's own words where it declined, else None.
    """

    value: Any
    refusal: str | None = None

    @property
    def text(self) -> str | None:
        """The text, or None where the answer has none."""
        return self.value if isinstance(self.value, str) else None


def read_output(body: bytes | str) -> Output:
    """Reads an answer: chat completions, completions, Responses, Anthropic's messages, embeddings, transcripts, and
    what agents (A2A) and tools (MCP) say.

    Several choices give the first. A body that is not JSON gives itself as text.
    """
    try:
        answer = decode_answer(body)
    except ValueError:
        return Output(value=body if isinstance(body, str) else body.decode(errors="replace"))
    return output_of(answer)


def decode_answer(body: bytes | str) -> Any:
    """Decodes an answer's JSON; a number that no program holds (1e400) is infinite, and written again as null.

    Raises: ValueError: it is no JSON, or nests deeper than can be followed.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decoded_by_python(body)
    except RecursionError as exc:
        raise ValueError("the answer is nested too deeply") from exc


def output_of(answer: Any) -> Output:
    """As ``read_output``, of a decoded body."""
    if not isinstance(answer, Mapping):
        return Output(value=answer)
    blocks = answer.get("content")
    if choices := _objects(answer.get("choices")):
        return _choice(choices[0])
    if answer.get("object") == "response" and (items := _objects(answer.get("output"))):
        return _responses(items)
    if answer.get("type") == "message" and isinstance(blocks, list | str):
        declined = _joined(blocks) if answer.get("stop_reason") == "refusal" else None
        return Output(value=_joined(blocks), refusal=declined)
    if (data := _objects(answer.get("data"))) and "embedding" in data[0]:
        vectors = [item.get("embedding") for item in data]
        return Output(value=vectors[0] if len(vectors) == 1 else vectors)
    if isinstance(answer.get("text"), str):
        return Output(value=answer["text"])
    said = read_said(answer)
    return Output(value=answer if said is None else said.value)


def _decoded_by_python(body: bytes | str) -> Any:
    try:
        answer = json.loads(body)
        msgspec.json.encode(answer)  # half a surrogate pair is no text
    except RecursionError as exc:
        raise ValueError("the answer is nested too deeply") from exc
    return answer


def _choice(choice: Mapping[str, Any]) -> Output:
    message = choice.get("message")
    if not isinstance(message, Mapping):
        return Output(value=choice.get("text"))
    refusal = message.get("refusal")
    return Output(value=_joined(message.get("content")), refusal=refusal if isinstance(refusal, str) else None)


def _responses(items: Sequence[Mapping[str, Any]]) -> Output:
    parts: list[Any] = []
    for item in items:
        if item.get("type") == "message" and isinstance(item.get("content"), list):
            parts += item["content"]
    refusals = [part["refusal"] for part in parts if isinstance(part, Mapping) and part.get("type") == "refusal"]
    return Output(value=_joined(parts), refusal=refusals[0] if refusals else None)


def _joined(content: Any) -> str | None:
    """Joins the texts of content parts; thinking, tool calls and images have none."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [
        part["text"]
        for part in content
        if isinstance(part, Mapping)
        and part.get("type") in ("text", "output_text")
        and isinstance(part.get("text"), str)
    ]
    return "".join(texts) if texts else None


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """Returns the list if it has objects alone, else an empty one."""
    return value if isinstance(value, list) and all(isinstance(item, Mapping) for item in value) else []

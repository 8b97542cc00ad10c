"""Validation: an answer held against the job's JSON schema, and what the model is told when it is asked again."""

from functools import lru_cache
from typing import Any

import msgspec

from forebay.domain.job import Job
from forebay.domain.record import Record
from forebay.policy.output_text import read_output
from forebay.policy.schema import Schema, compile_schema

COMPILED_SCHEMAS = 256
LONGEST_ECHO_CHARACTERS = 8_000
CHAT = "/chat/completions"
MESSAGES = "/messages"


class Args(Record, frozen=True, kw_only=True):
    """``spec.args`` of an infer job, as far as this handler reads them."""

    schema: dict[str, Any] | bool | None = None


class Feedback(Record, frozen=True, kw_only=True):
    """The cursor between two tries: the answer that was invalid, and why."""

    version: int = 1
    answer: str
    reasons: str


class Validation:
    """The schema of one job."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    @classmethod
    def of(cls, job: Job) -> "Validation | None":
        """The job's validation, None if it has no schema."""
        if job.spec.args is None:
            return None
        schema = _compiled(job.spec.args)
        return cls(schema) if schema else None

    def reasons(self, body: bytes) -> str | None:
        """Why the answer does not fit, None if it does."""
        output = read_output(body)
        if output.refusal is not None:
            return "the model refused"
        value = output.value  # a text; or data that an agent, a tool or a service gave
        checked = (
            self._schema.check(value) if value is None or isinstance(value, str) else self._schema.check_value(value)
        )
        return None if checked.is_valid else "; ".join(checked.reasons)

    def feedback(self, body: bytes, reasons: str) -> str:
        """The progress that the next try begins with."""
        value = read_output(body).value
        answer = value[:LONGEST_ECHO_CHARACTERS] if isinstance(value, str) else ""
        return msgspec.json.encode(Feedback(answer=answer, reasons=reasons)).decode()


def with_feedback(endpoint: str, body: str, progress: str) -> str:
    """The request with the invalid answer and the reasons appended, where the endpoint holds a conversation.

    At temperature 0 the same request would give the same invalid answer.
    """
    feedback = msgspec.json.decode(progress, type=Feedback)
    if not endpoint.endswith((CHAT, MESSAGES)) or not feedback.answer:
        return body
    request: dict[str, Any] = msgspec.json.decode(body)
    messages = request.get("messages")
    if not isinstance(messages, list):
        return body
    request["messages"] = [
        *messages,
        {"role": "assistant", "content": feedback.answer},
        {"role": "user", "content": f"That is not valid: {feedback.reasons}. Answer again with valid JSON alone."},
    ]
    return msgspec.json.encode(request).decode()


@lru_cache(maxsize=COMPILED_SCHEMAS)
def _compiled(args: str) -> Schema | None:
    definition = msgspec.json.decode(args, type=Args).schema
    return None if definition is None else compile_schema(definition)

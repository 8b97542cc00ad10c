"""JSON schemas of outputs: compiled once, held against what a model said, and told to it in its wire's own words.

Called by the infer handler (validation and re-asking) and by `forebay run --schema`.
"""

import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec

from forebay.domain.errors import RequestError
from forebay.domain.record import Record

MOST_REASONS = 5
LONGEST_REASON_CHARACTERS = 300
_FENCE = re.compile(r"\A```[A-Za-z]*\s*\n(.*)\n\s*```\s*\Z", re.DOTALL)


class Checked(Record, frozen=True, kw_only=True):
    """What a text is under a schema: the ``value``, or the ``reasons`` why it is none (never both)."""

    value: Any = None
    reasons: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        return not self.reasons


TOO_DEEP = Checked(reasons=("the answer is nested too deeply",))


class Schema:
    """A compiled schema."""

    __slots__ = ("_validator", "definition")

    def __init__(self, definition: Mapping[str, Any] | bool, validator: jsonschema_rs.Validator) -> None:
        self.definition = definition
        self._validator = validator

    def check(self, text: str | None) -> Checked:
        """Reads the text as JSON (a Markdown fence around it is forgiven) and validates it."""
        if text is None:
            return Checked(reasons=("the answer has no text",))
        try:
            value = msgspec.json.decode(_unfenced(text))
        except (msgspec.DecodeError, UnicodeEncodeError) as exc:
            return Checked(reasons=(f"the answer is not JSON: {exc}",))
        except RecursionError:
            return TOO_DEEP
        return self.check_value(value)

    def check_value(self, value: Any) -> Checked:
        """Validates a decoded value; at most five reasons, each with the place in the value."""
        reasons: list[str] = []
        try:
            for error in self._validator.iter_errors(value):
                place = "/".join(str(step) for step in error.instance_path)
                reasons.append(f"{error.message} (at {place or 'the root'})"[:LONGEST_REASON_CHARACTERS])
                if len(reasons) == MOST_REASONS:
                    break
        except ValueError:  # the validator follows some 250 levels
            return TOO_DEEP
        return Checked(reasons=tuple(reasons)) if reasons else Checked(value=value)


def compile_schema(definition: Any) -> Schema:
    """Compiles a JSON schema (draft 2020-12 unless ``$schema`` says otherwise; nothing is fetched for a ``$ref``).

    Raises: RequestError: it is no valid schema.
    """
    if not isinstance(definition, Mapping | bool):
        raise RequestError(f"A JSON schema is an object, not {type(definition).__name__}", param="schema")
    schema = definition if isinstance(definition, bool) else dict(definition)
    try:
        validator = jsonschema_rs.validator_for(schema, retriever=_refuse_to_fetch)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as exc:
        message = getattr(exc, "message", None) or str(exc)
        raise RequestError(f"The JSON schema is not valid: {message}", param="schema") from exc
    return Schema(definition, validator)


def with_schema(body: Mapping[str, Any], endpoint: str, schema: Schema, *, name: str = "output") -> dict[str, Any]:
    """Returns the body with the schema in its wire's own field, unless the body has one already.

    Chat completions: ``response_format``; Responses: ``text.format``; Anthropic's messages: ``output_config.format``
    (which takes closed objects alone). Other endpoints have no such field: there the answer is only validated.
    Sources: platform.openai.com/docs/guides/structured-outputs, docs.anthropic.com structured outputs (November 2026).
    """
    is_strict = is_closed(schema.definition)
    form = {"name": name, "schema": schema.definition, "strict": is_strict}
    told = dict(body)
    if endpoint.endswith("/chat/completions"):
        told.setdefault("response_format", {"type": "json_schema", "json_schema": form})
    elif endpoint.endswith("/responses"):
        told["text"] = {"format": {"type": "json_schema", **form}, **_object(told.get("text"))}
    elif endpoint.endswith("/messages") and is_strict:
        shape = {"type": "json_schema", "schema": schema.definition}
        told["output_config"] = {"format": shape, **_object(told.get("output_config"))}
    return told


def is_closed(definition: Any) -> bool:
    """Whether every object in the schema requires all its members and allows no other: what ``strict`` asks."""
    if isinstance(definition, list):
        return all(is_closed(item) for item in definition)
    if not isinstance(definition, Mapping):
        return not isinstance(definition, bool)
    members = definition.get("properties")
    if definition.get("type") == "object" or isinstance(members, Mapping):
        members = members if isinstance(members, Mapping) else {}
        is_exact = definition.get("additionalProperties") is False and set(definition.get("required", ())) == set(
            members
        )
        if not is_exact or not all(is_closed(member) for member in members.values()):
            return False
    nested = [definition[key] for key in ("items", "anyOf", "allOf", "oneOf", "prefixItems") if key in definition]
    named = [
        list(definition[key].values()) for key in ("$defs", "definitions") if isinstance(definition.get(key), Mapping)
    ]
    return all(is_closed(part) for part in [*nested, *named])


def _unfenced(text: str) -> str:
    stripped = text.strip()
    fenced = _FENCE.match(stripped)
    return fenced.group(1) if fenced else stripped


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _refuse_to_fetch(uri: str) -> Any:
    raise ValueError(f"{uri!r} is outside the schema; put it into $defs")

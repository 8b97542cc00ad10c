"""The options of steps that ask models: ``infer`` and ``infer_once``. All of ``POST /v1/jobs`` that one record can
have, and how a record becomes a request.
"""

from collections.abc import Mapping
from typing import Any

from forebay.domain.errors import NotSupported, RequestError
from forebay.domain.job import OnUnknown
from forebay.domain.record import Record
from forebay.policy.durations import duration_seconds
from forebay.policy.requests import RequestOptions
from forebay.policy.schema import compile_schema
from forebay.policy.steps.effects import only
from forebay.policy.templates import compile_body, compile_text

MOST_PER_CALL = 1000
MOST_ATTEMPTS = 1000
HIGHEST_PRIORITY = 100
LONGEST_TIMEOUT_SECONDS = 86_400.0
REQUEST = ("prompt", "system", "body", "params", "schema", "endpoint", "model")
CALL = ("target", "priority", "deadline", "timeout", "max_attempts", "on_unknown", "budget_usd", "metadata")
INFER = (*REQUEST, *CALL, "records_per_call")
#: Fields of ``POST /v1/jobs`` that a step has no use for, and what to do instead.
ELSEWHERE = {
    "targets": "is a `fanout` step's",
    "join": "is a `fanout` step's",
    "notify": "is a step of its own: `notify`",
    "idempotency_key": "is not needed: records are known by their content",
    "not_before": "is the pipeline's affair: give it `windows` or a schedule",
}


class CallOptions(Record, frozen=True, kw_only=True):
    """How calls are made, whatever they ask. ``deadline_seconds``: of all calls of the step, from its beginning."""

    target: str | None = None
    priority: int = 0
    deadline_seconds: float | None = None
    timeout_seconds: float | None = None
    max_attempts: int = 5
    on_unknown: OnUnknown = OnUnknown.RETRY
    budget_usd: float | None = None
    metadata: dict[str, str] = {}


class InferOptions(Record, frozen=True, kw_only=True):
    """A step that asks one target. ``per_call``: so many records in one call."""

    request: RequestOptions
    call: CallOptions = CallOptions()
    per_call: int = 1


def read_infer(options: Mapping[str, Any]) -> InferOptions:
    """Raises: RequestError, with the option as ``param``."""
    refuse_others(options, INFER)
    request = read_request(options)
    call = read_call_options(options)
    if call.target is None and request.model is None and not _names_model(request):
        raise RequestError("name a `target` or a `model`", param="target")
    per_call = whole(options, "records_per_call", 1, MOST_PER_CALL, 1)
    if per_call > 1 and request.body is not None and not (request.endpoint or "").endswith("/embeddings"):
        raise RequestError("needs a `prompt`; a `body` is one record's", param="records_per_call")
    own = compile_text(request.system or "").fields - {"run", "params"}
    if per_call > 1 and own:
        named = sorted(own)[0]
        raise RequestError(f"several records share it: it can't name {{{named}}}; `prompt` can", param="system")
    return InferOptions(request=request, call=call, per_call=per_call)


def read_infer_once(options: Mapping[str, Any]) -> InferOptions:
    """Raises: RequestError, with the option as ``param``."""
    if "records_per_call" in options:
        raise RequestError("`infer_once` makes one call", param="records_per_call")
    return read_infer(options)


def fields_of(request: RequestOptions) -> frozenset[str]:
    """The names at the top of what the templates read: columns, step names, ``run`` and ``params``."""
    texts = [compile_text(text).fields for text in (request.prompt, request.system) if text is not None]
    body = frozenset() if request.body is None else compile_body(request.body).fields
    return body.union(*texts)


def read_request(options: Mapping[str, Any]) -> RequestOptions:
    """What is asked. Raises: RequestError."""
    prompt, system, body = words(options, "prompt"), words(options, "system"), options.get("body")
    if (prompt is None) == (body is None):
        raise RequestError("say what to ask: a `prompt`, or a `body`", param="prompt")
    if system is not None and prompt is None:
        raise RequestError("needs `prompt`; with `body` write it into the body", param="system")
    if body is not None and not isinstance(body, Mapping):
        raise RequestError("must be a JSON object", param="body")
    params = options.get("params") or {}
    if not isinstance(params, Mapping):
        raise RequestError("must be a mapping: members of every request's body", param="params")
    if (body is not None and body.get("stream")) or params.get("stream"):
        raise RequestError("a step's calls have no stream", param="body.stream", code="streaming_unsupported")
    schema = options.get("schema")
    if schema is not None:
        compile_schema(schema)
    return RequestOptions(
        prompt=prompt,
        system=system,
        body=None if body is None else dict(body),
        params=dict(params),
        schema=schema,
        endpoint=words(options, "endpoint"),
        model=words(options, "model"),
    )


def read_call_options(options: Mapping[str, Any]) -> CallOptions:
    """How calls are made. Raises: RequestError."""
    metadata = options.get("metadata") or {}
    if not isinstance(metadata, Mapping) or not all(isinstance(one, str) for one in metadata.values()):
        raise RequestError("must be pairs of texts", param="metadata")
    on_unknown = options.get("on_unknown", OnUnknown.RETRY.value)
    if on_unknown not in list(OnUnknown):
        raise RequestError(f"must be retry or hold, not {on_unknown!r}", param="on_unknown")
    return CallOptions(
        target=words(options, "target"),
        priority=whole(options, "priority", -HIGHEST_PRIORITY, HIGHEST_PRIORITY, 0),
        deadline_seconds=duration(options, "deadline"),
        timeout_seconds=duration(options, "timeout", LONGEST_TIMEOUT_SECONDS),
        max_attempts=whole(options, "max_attempts", 1, MOST_ATTEMPTS, 5),
        on_unknown=OnUnknown(on_unknown),
        budget_usd=_amount(options, "budget_usd"),
        metadata=dict(metadata),
    )


def refuse_others(options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuses what the step does not act on. Raises: RequestError, NotSupported."""
    if options.get("data_class") is not None:
        raise NotSupported("is not supported yet (placement by data class)", param="data_class")
    for name, why in ELSEWHERE.items():
        if name in options and name not in known:
            raise RequestError(why, param=name, code="unknown_parameter")
    only(options, known)


def words(options: Mapping[str, Any], name: str) -> str | None:
    """A text that may be left out. Raises: RequestError."""
    value = options.get(name)
    if value is not None and (not isinstance(value, str) or not value or "\0" in value):
        raise RequestError("must be a text that is not empty", param=name)
    return value


def whole(options: Mapping[str, Any], name: str, least: int, most: int, default: int) -> int:
    """A whole number. Raises: RequestError."""
    value = options.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RequestError(f"must be a whole number from {least} to {most}", param=name)
    return value


def duration(options: Mapping[str, Any], name: str, most: float = 100 * 365 * 86_400.0) -> float | None:
    """A duration in seconds. Raises: RequestError."""
    value = options.get(name)
    if value is None:
        return None
    seconds = duration_seconds(value) if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= most:
        raise RequestError("must be a duration such as 15m, or seconds", param=name)
    return float(seconds)


def _amount(options: Mapping[str, Any], name: str) -> float | None:
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise RequestError("must be a number that is not negative", param=name)
    return float(value)


def _names_model(request: RequestOptions) -> bool:
    body = request.body if isinstance(request.body, Mapping) else {}
    return "model" in body or "model" in request.params

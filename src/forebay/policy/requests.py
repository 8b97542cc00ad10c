"""How a record becomes a model request, and by what the request is known from one run to the next.

Called by `forebay run` and by the inference steps of pipelines.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from forebay.domain.errors import ConfigurationError, RequestError
from forebay.domain.record import Record
from forebay.policy.resolution import normal_endpoint
from forebay.policy.schema import Schema, compile_schema, with_schema
from forebay.policy.templates import BodyTemplate, compile_body, compile_text

IDENTITY_BYTES = 16
INPUT_PREFIX = "input_"
ANTHROPIC_MAX_TOKENS = 4096  # the field is required there
OPENAI_FIELDS = frozenset({"custom_id", "url", "body"})
OWN_FIELDS = ("messages", "prompt", "input")

Body = dict[str, Any]


class Shape(StrEnum):
    """What a row of the output is."""

    RECORD = "record"  # the input's fields and `output`
    OPENAI_LINE = "openai_line"  # OpenAI's output line, because the input had OpenAI's lines


class RequestOptions(Record, frozen=True, kw_only=True):
    """How each record becomes a request. Without ``prompt`` and ``body`` the record itself is one."""

    prompt: str | None = None
    system: str | None = None
    body: Any = None  # a JSON template
    params: dict[str, Any] = {}  # members of every request's body
    schema: Any = None  # a JSON schema of the output
    endpoint: str | None = None
    model: str | None = None


class Request(Record, frozen=True, kw_only=True):
    """One rendered request. ``body`` is JSON text, equal for equal records."""

    endpoint: str
    body: bytes


class Renderer:
    """Renders the records of one run. ``fields`` are the columns that a record must have."""

    def __init__(
        self,
        shape: Shape,
        fields: frozenset[str],
        render: Callable[[Mapping[str, Any]], tuple[str, Body]],
        schema: Schema | None,
    ) -> None:
        self.shape = shape
        self.fields = fields
        self._render = render
        self._schema = schema

    def render(self, record: Mapping[str, Any]) -> Request:
        """Raises: TemplateFieldMissing, RequestError: this record is no request."""
        endpoint, body = self._render(record)
        if self._schema is not None:
            body = with_schema(body, endpoint, self._schema)
        return Request(endpoint=endpoint, body=msgspec.json.encode(body))


def make_renderer(options: RequestOptions, endpoint: str, first: Mapping[str, Any]) -> Renderer:
    """Chooses how records are rendered; the ``first`` one shows which form they have, where no option says.

    Raises: ConfigurationError: neither options nor records say what to ask.
    """
    schema = None if options.schema is None else compile_schema(options.schema)
    extra: Body = {**({} if options.model is None else {"model": options.model}), **options.params}
    if options.body is not None:
        template = compile_body(options.body)
        return Renderer(
            Shape.RECORD, template.fields, lambda record: (endpoint, _object(template, record, extra)), schema
        )
    if options.prompt is not None:
        return _prompted(options, options.prompt, endpoint, extra, schema)
    if set(first) >= OPENAI_FIELDS:
        return Renderer(Shape.OPENAI_LINE, OPENAI_FIELDS, lambda record: _line(record, endpoint, extra), schema)
    for name in OWN_FIELDS:
        if name in first:
            return Renderer(Shape.RECORD, frozenset({name}), _own(name, endpoint, extra), schema)
    columns = ", ".join(first) or "none"
    raise ConfigurationError(
        f"Say what to ask: --prompt 'Classify: {{column}}' or --body FILE (the input's columns: {columns})"
    )


def own_choice(options: RequestOptions, first: Mapping[str, Any]) -> tuple[bool, str | None]:
    """Whether requests name their models themselves, and the endpoint that is asked for (None: nobody says)."""
    is_line = options.body is None and options.prompt is None and set(first) >= OPENAI_FIELDS
    body = first["body"] if is_line else options.body
    names_model = "model" in options.params or (isinstance(body, dict) and "model" in body)
    url = first["url"] if is_line else None
    endpoint = options.endpoint or (url if isinstance(url, str) else None)
    return names_model, None if endpoint is None else normal_endpoint(endpoint)


def identity(request: Request, place: str, schema: Any) -> bytes:
    """Hashes what makes two requests the same: endpoint, body, schema, and the target or base URL."""
    digest = hashlib.blake2b(digest_size=IDENTITY_BYTES)
    told = b"" if schema is None else msgspec.json.encode(schema, order="sorted")
    for part in (place.encode(), request.endpoint.encode(), told, request.body):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()


def kept_names(columns: Sequence[str], added: Collection[str]) -> dict[str, str]:
    """New names of the columns whose own are taken by what is added: ``input_<name>``."""
    taken = {*columns, *added}
    names: dict[str, str] = {}
    for name in columns:
        if name in added:
            free = INPUT_PREFIX + name
            while free in taken:
                free = INPUT_PREFIX + free
            names[name] = free
            taken.add(free)
    return names


def _prompted(options: RequestOptions, prompt: str, endpoint: str, extra: Body, schema: Schema | None) -> Renderer:
    asked = compile_text(prompt)
    system = None if options.system is None else compile_text(options.system)
    fields = asked.fields | (system.fields if system else frozenset())

    def render(record: Mapping[str, Any]) -> tuple[str, Body]:
        said = None if system is None else system.render_text(record)
        return endpoint, {**request_body(endpoint, asked.render_text(record), said), **extra}

    if options.system is not None:
        request_body(endpoint, "", "")  # refuses an endpoint without a place for it
    return Renderer(Shape.RECORD, fields, render, schema)


def request_body(endpoint: str, prompt: str, system: str | None) -> Body:
    """The body that asks one thing, in the endpoint's own form. Raises: ConfigurationError: it takes no system text."""
    messages: list[Body] = [{"role": "user", "content": prompt}]
    if endpoint.endswith("/chat/completions"):
        told = [] if system is None else [{"role": "system", "content": system}]
        return {"messages": told + messages}
    if endpoint.endswith("/messages"):
        told_apart: Body = {} if system is None else {"system": system}
        return {"max_tokens": ANTHROPIC_MAX_TOKENS, **told_apart, "messages": messages}
    if endpoint.endswith("/responses"):
        return {"input": prompt, **({} if system is None else {"instructions": system})}
    if system is not None:
        raise ConfigurationError(f"{endpoint} takes no --system text; put it into the prompt")
    if endpoint.endswith(("/embeddings", "/moderations", "/audio/speech")):
        return {"input": prompt}
    return {"prompt": prompt}


def _own(name: str, endpoint: str, extra: Body) -> Callable[[Mapping[str, Any]], tuple[str, Body]]:
    def render(record: Mapping[str, Any]) -> tuple[str, Body]:
        value = record.get(name)
        if value is None:
            raise RequestError(f"The record has no {name!r}", code="template_field_missing")
        if name == "messages":
            if not isinstance(value, list):
                raise RequestError("`messages` must be a list", code="invalid_input")
            body: Body = {"max_tokens": ANTHROPIC_MAX_TOKENS} if endpoint.endswith("/messages") else {}
            return endpoint, {**body, "messages": value, **extra}
        if isinstance(value, str):
            return endpoint, {**request_body(endpoint, value, None), **extra}
        own = next((member for member in ("input", "prompt") if member in request_body(endpoint, "", None)), None)
        if own is None:
            raise RequestError(f"{name!r} must be text for {endpoint}", code="invalid_input")
        return endpoint, {own: value, **extra}

    return render


def _line(record: Mapping[str, Any], endpoint: str, extra: Body) -> tuple[str, Body]:
    url, body = record.get("url"), record.get("body")
    if not isinstance(url, str) or not isinstance(body, dict) or not isinstance(record.get("custom_id"), str):
        raise RequestError(
            "The line needs custom_id, url and body, as OpenAI's batches have them", code="invalid_input"
        )
    if normal_endpoint(url) != endpoint:
        raise ConfigurationError(f"The input has lines for {endpoint} and for {url}; split it, a run asks one endpoint")
    return endpoint, {**body, **extra}


def _object(template: BodyTemplate, record: Mapping[str, Any], extra: Body) -> Body:
    body = template.render(record)
    if not isinstance(body, dict):
        raise RequestError("--body did not render to a JSON object", code="invalid_input")
    return {**body, **extra}

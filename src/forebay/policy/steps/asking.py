"""How the records of a step become calls: one record alone, or several in one call."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forebay.domain.asking import Form
from forebay.domain.fanout import FanoutArgs
from forebay.domain.record import Record
from forebay.policy.requests import Request, RequestOptions, identity, make_renderer, request_body
from forebay.policy.schema import Schema, compile_schema, with_schema
from forebay.policy.steps.infer import fields_of
from forebay.policy.templates import compile_body, compile_text

RECORDS = "records"  # a prompt that names this is given all records of its call at once
EVENT = "event"  # what a target that sums up a fan-out calls the record
VECTORS = "/embeddings"
NUMBER, OUTPUT, ANSWERS = "id", "output", "answers"
_EACH = "There are {count} tasks below. Do each of them on its own, as if it were the only one."
_TOLD = (
    'Answer with one JSON object, {{"answers": [{{"id": 1, "output": …}}, …]}}, which has exactly one answer for each '
    "id from 1 to {count}."
)


class Asked(Record, frozen=True, kw_only=True):
    """What a step asks of each record. ``request`` with its endpoint; ``place``: target and model, which a request is
    known by too; ``scope``: ``run`` and ``params``. ``fanout``: several targets, whose bodies are templates.
    """

    request: RequestOptions = RequestOptions()
    place: str = ""
    scope: dict[str, Any] = {}
    per_call: int = 1
    fanout: FanoutArgs | None = None
    contents: tuple[str, ...] = ()  # blobs of files that its records may refer to

    @property
    def form(self) -> Form:
        if self.fanout is not None:
            return Form.FANOUT
        if self.per_call == 1:
            return Form.ALONE
        return Form.VECTORS if (self.request.endpoint or "").endswith(VECTORS) else Form.TOGETHER

    @property
    def names(self) -> frozenset[str]:
        """The names at the top of what its templates read."""
        if self.fanout is None:
            return fields_of(self.request)
        fields = [compile_body(branch.body).fields for branch in self.fanout.branches]
        return frozenset[str]().union(*fields, self._summed)

    @property
    def _summed(self) -> frozenset[str]:
        """What a target that sums up reads of the record: ``event`` is it."""
        branch = None if self.fanout is None else self.fanout.aggregation.branch
        paths = () if branch is None else compile_body(branch.body).paths
        return frozenset(str(path[1]) for path in paths if path[0] == EVENT and len(path) > 1)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that its templates name."""
        return self.names - self.scope.keys() - ({RECORDS} if self.sees_all else set())

    @property
    def sees_all(self) -> bool:
        """Whether the prompt is given whole records."""
        return self.fanout is None and RECORDS in self.names


def schema_of(form: Form, schema: Any) -> Any:
    """The JSON schema that a call of the form is held against; ``schema``: of one record's output."""
    if form is not Form.TOGETHER:
        return schema if form is Form.ALONE else None
    own = {"type": "string"} if schema is None else schema
    hoisted = {}
    if isinstance(own, Mapping):  # `#/$defs/…` counts from the root
        hoisted = {name: own[name] for name in ("$defs", "definitions") if name in own}
        own = {name: value for name, value in own.items() if name not in hoisted}
    answer = {
        "type": "object",
        "properties": {NUMBER: {"type": "integer"}, OUTPUT: own},
        "required": [NUMBER, OUTPUT],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {ANSWERS: {"type": "array", "items": answer}},
        "required": [ANSWERS],
        "additionalProperties": False,
        **hoisted,
    }


class Asker:
    """Renders the records of one step."""

    def __init__(self, asked: Asked) -> None:
        options = asked.request
        self._asked = asked
        self._endpoint = options.endpoint or ""
        self._prompt = None if options.prompt is None else compile_text(options.prompt)
        self._system = None if options.system is None else compile_text(options.system)
        self._alone = None if asked.fanout else make_renderer(options, self._endpoint, {})
        branches = asked.fanout.branches if asked.fanout else ()
        self._branches = [(branch.endpoint or "", compile_body(branch.body)) for branch in branches]
        self._fanout = msgspec.json.encode(asked.fanout, order="sorted") if asked.fanout else b""
        self._names = asked.names
        self._sees_all = asked.sees_all
        is_together = asked.form is Form.TOGETHER
        self._schema = compile_schema(schema_of(Form.TOGETHER, options.schema)) if is_together else None

    @property
    def endpoint(self) -> str:
        return self._endpoint

    @property
    def per_call(self) -> int:
        return self._asked.per_call

    def request(self, record: Mapping[str, Any]) -> Request:
        """The request of one record. Raises: TemplateFieldMissing, RequestError: this record is none."""
        scope = {**self._asked.scope, **record}
        if self._alone is None:  # its branches render their own bodies
            seen = {name: scope[name] for name in sorted(self._names) if name in scope}
            return Request(endpoint=self._endpoint, body=msgspec.json.encode(seen))
        if self._sees_all:
            scope[RECORDS] = _numbered([record])
        return self._alone.render(scope)

    def sent(self, records: Sequence[Mapping[str, Any]]) -> list[Request]:
        """What is sent for the records of one call: of a fan-out, each branch's own request."""
        if self._branches:
            scope = {**self._asked.scope, **records[0]}
            return [
                Request(endpoint=endpoint, body=msgspec.json.encode(body.render(scope)))
                for endpoint, body in self._branches
            ]
        if self._asked.per_call == 1:
            return [self.request(records[0])]
        return [Request(endpoint=self._endpoint, body=self.call(records))]

    def key(self, request: Request) -> str:
        """By what a request is known from run to run, however many records share its call."""
        known = identity(request, self._asked.place, self._asked.request.schema)
        if self._fanout:
            known = hashlib.blake2b(known + self._fanout, digest_size=len(known)).digest()
        return known.hex()

    def call(self, records: Sequence[Mapping[str, Any]]) -> bytes:
        """The body that asks of several records at once: records that were rendered before."""
        if self._schema is None:
            bodies = [msgspec.json.decode(self.request(record).body) for record in records]
            return msgspec.json.encode({**bodies[0], "input": [body.get("input") for body in bodies]})
        return self._together(records, self._schema)

    def _together(self, records: Sequence[Mapping[str, Any]], schema: Schema) -> bytes:
        options, scope, count = self._asked.request, self._asked.scope, len(records)
        told = _TOLD.format(count=count)
        if self._prompt is None:
            text = told
        elif self._sees_all:
            text = f"{self._prompt.render_text({**scope, RECORDS: _numbered(records)})}\n\n{told}"
        else:
            prompts = [self._prompt.render_text({**scope, **record}) for record in records]
            tasks = [f'<task id="{place}">\n{prompt}\n</task>' for place, prompt in enumerate(prompts, 1)]
            text = "\n\n".join([_EACH.format(count=count), *tasks, told])
        system = None if self._system is None else self._system.render_text(scope)
        model = {} if options.model is None else {"model": options.model}
        body = {**request_body(self._endpoint, text, system), **model, **options.params}
        return msgspec.json.encode(with_schema(body, self._endpoint, schema))


def _numbered(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{NUMBER: place, "record": record} for place, record in enumerate(records, 1)]

"""Which target serves a request: pure, from the declared targets and routes.

The target that is named, else a route of that name; without one, a route of the model's name, else targets that serve
the endpoint and whose ``models`` match exactly, else by pattern. The first in file order wins; only a route fails over.
"""

import re
from collections.abc import Sequence
from itertools import islice

import msgspec

from forebay.domain.errors import NotFound, RequestError
from forebay.domain.lane import route_queue, target_queue
from forebay.domain.record import Record
from forebay.domain.target import Route, TargetSpec, TargetType
from forebay.policy.nearest import hint

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
MESSAGES_ENDPOINTS = frozenset({MESSAGES, "/v1/messages/count_tokens"})  # Anthropic's wire
MOST_REMEMBERED = 10_000
LONGEST_ENDPOINT = 256
MOST_KNOWN = 1024  # answers remembered: every call of a job asks again
MOST_PLACES = 8  # of a body's `model` that are tried before the body is written anew
LONGEST_NAME = 256  # of an unknown name in a message
_ENDPOINT = re.compile(r"(/[A-Za-z0-9_~:@.-]+)+", re.ASCII)  # it is appended to an address: no `..`, query or escape
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Candidate(Record, frozen=True, kw_only=True):
    """A target that may serve the request, and the model it is sent (None: the body goes as it is)."""

    target: str
    model: str | None = None


class Resolution(Record, frozen=True, kw_only=True):
    """Where a request queues, and who may serve it, in order of preference."""

    queue: str
    candidates: tuple[Candidate, ...]
    endpoint: str
    model: str | None


class Resolver:
    """Answers for one set of targets and routes."""

    def __init__(self, targets: Sequence[TargetSpec], routes: Sequence[Route]) -> None:
        self._targets = {spec.name: spec for spec in targets}
        self._routes = {route.name: route for route in routes}
        self._known: dict[tuple[str | None, str | None, str | None], Resolution] = {}  # what was asked before
        self._exact: dict[str, list[TargetSpec]] = {}
        self._patterns: list[tuple[re.Pattern[str], TargetSpec]] = []
        for spec in targets:
            for name in dict.fromkeys((*spec.exact_models, *([spec.model] if spec.model else ()))):
                self._exact.setdefault(name, []).append(spec)
            self._patterns += [(_compiled(name), spec) for name in spec.models if "*" in name]

    def resolve(self, *, target: str | None, model: str | None, endpoint: str | None) -> Resolution:
        """Chooses. Raises: NotFound (`model_not_found`), RequestError (`endpoint_not_supported`)."""
        asked = (target, model, endpoint)
        found = self._known.get(asked)
        if found is None:
            found = self._resolved(target, model, None if endpoint is None else normal_endpoint(endpoint))
            if len(self._known) < MOST_KNOWN:
                self._known[asked] = found
        return found

    def _resolved(self, target: str | None, model: str | None, wanted: str | None) -> Resolution:
        if target is not None:
            return self._named(target, model, wanted)
        if model is None:
            message = "The request names neither a target nor a model: set `model`, or `body.model`"
            raise RequestError(message, param="model", code="missing_required_parameter")
        if model in self._routes:
            return self._routed(self._routes[model], model, wanted)
        chosen = self._matching(model, wanted)
        return _direct(chosen, model, wanted)

    def model_names(self) -> list[str]:
        """The names that ``/v1/models`` lists: exact models and routes, in file order."""
        return list(dict.fromkeys([*self._exact, *self._routes]))

    def _named(self, target: str, model: str | None, endpoint: str | None) -> Resolution:
        """A model that the request names goes to the named target, listed there or not: the target has the say."""
        spec = self._targets.get(target)
        if spec is None and target in self._routes:
            return self._routed(self._routes[target], model or target, endpoint)
        if spec is None:
            known = ", ".join([*self._targets, *self._routes]) or "none is configured"
            message = (
                f"There is no target {target!r}{hint(target, [*self._targets, *self._routes])}; there are: {known}"
            )
            raise NotFound(message, param="target", code="model_not_found")
        return _direct(_serving([spec], endpoint), model or _first_model(spec), endpoint)

    def _routed(self, route: Route, model: str, endpoint: str | None) -> Resolution:
        entries = [(entry, self._targets[entry.target]) for entry in route.entries if entry.target in self._targets]
        if not entries:
            raise NotFound(self._unknown(model), param="model", code="model_not_found")
        wanted = endpoint_for(_serving([spec for _, spec in entries], endpoint), endpoint)
        candidates = tuple(
            Candidate(target=spec.name, model=entry.model or _first_model(spec))
            for entry, spec in entries
            if serves(spec, wanted)
        )
        return Resolution(queue=route_queue(route.name), candidates=candidates, endpoint=wanted, model=model)

    def _matching(self, model: str, endpoint: str | None) -> TargetSpec:
        exact = self._exact.get(model, [])
        fitting = [spec for pattern, spec in self._patterns if pattern.fullmatch(model)]
        for spec in (*exact, *fitting):
            if endpoint is None or serves(spec, endpoint):
                return spec
        if not exact and not fitting:
            raise NotFound(self._unknown(model), param="model", code="model_not_found")
        return _serving([*exact, *fitting], endpoint)

    def _unknown(self, model: str) -> str:
        known = ", ".join(self.model_names()[:20]) or "no target is configured"
        near = hint(model, self.model_names())
        return f"The model {model[:LONGEST_NAME]!r} does not exist here{near}; there are: {known}"


def _direct(spec: TargetSpec, model: str | None, endpoint: str | None) -> Resolution:
    return Resolution(
        queue=target_queue(spec.name),
        candidates=(Candidate(target=spec.name, model=model),),
        endpoint=endpoint_for(spec, endpoint),
        model=model,
    )


def _serving(specs: Sequence[TargetSpec], endpoint: str | None) -> TargetSpec:
    for spec in specs:
        if endpoint is None or serves(spec, endpoint):
            return spec
    its_own = f"; it serves {', '.join(specs[0].endpoints)}" if specs[0].endpoints else ""
    message = f"Target {specs[0].name!r} (type {specs[0].type}) does not serve {endpoint}{its_own}"
    raise RequestError(message, param="endpoint", code="endpoint_not_supported")


def serves(spec: TargetSpec, endpoint: str) -> bool:
    """Whether a target's type, or a local model of its kind, speaks the endpoint."""
    if spec.endpoints:
        return endpoint in spec.endpoints
    match spec.type:
        case TargetType.ANTHROPIC:
            return endpoint in MESSAGES_ENDPOINTS
        case TargetType.OPENAI:
            return endpoint not in MESSAGES_ENDPOINTS
        case _:
            return True


def endpoint_for(spec: TargetSpec, endpoint: str | None) -> str:
    """The endpoint as asked for, with ``/v1``; else the type's own."""
    if endpoint is not None:
        return normal_endpoint(endpoint)
    if spec.endpoints:
        return spec.endpoints[0]
    return MESSAGES if spec.type is TargetType.ANTHROPIC else CHAT


def normal_endpoint(endpoint: str) -> str:
    """``chat/completions`` and ``/chat/completions`` are ``/v1/chat/completions``. Raises: RequestError: no path."""
    path = "/" + endpoint.strip("/")
    steps = path.split("/")
    if not _ENDPOINT.fullmatch(path) or len(path) > LONGEST_ENDPOINT or "." in steps or ".." in steps:
        message = f"{endpoint[:LONGEST_ENDPOINT]!r} is no endpoint: write a path such as {CHAT}"
        raise RequestError(message, param="endpoint")
    return path if path.startswith("/v1/") else "/v1" + path


def rewrite_model(body: str, model: str) -> bytes:
    """Sets ``body.model``; every other byte stays. A body that has it already is returned as it is, and so is one that
    is no object.
    """
    whole = body.encode()
    try:
        fields = _FIELDS.decode(whole)
    except msgspec.DecodeError:
        return whole
    value = msgspec.json.encode(model)
    if "model" not in fields:
        opening = whole.index(b"{") + 1
        return whole[:opening] + b'"model":' + value + (b"," if fields else b"") + whole[opening:]
    if _is_text(fields["model"], model):
        return whole
    if (spliced := _spliced(whole, bytes(fields["model"]).strip(), model)) is not None:
        return spliced
    fields["model"] = msgspec.Raw(value)
    return msgspec.json.encode(fields)


def _spliced(whole: bytes, old: bytes, model: str) -> bytes | None:
    """Replaces the value where it stands. The same words may stand in nested objects too: the one that changes the
    outermost `model` is it. None: it is not among the first of them, or its key is written with escapes.
    """
    new = msgspec.json.encode(model)
    for place in islice(re.finditer(rb'"model"\s*:\s*(' + re.escape(old) + rb")", whole), MOST_PLACES):
        changed = whole[: place.start(1)] + new + whole[place.end(1) :]
        try:
            if _is_text(_FIELDS.decode(changed)["model"], model):
                return changed
        except msgspec.DecodeError:  # it began a longer number
            continue
    return None


def _is_text(raw: msgspec.Raw, text: str) -> bool:
    value = bytes(raw).strip()
    return value.startswith(b'"') and msgspec.json.decode(value) == text


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)


def _first_model(spec: TargetSpec) -> str | None:
    return next(iter(spec.exact_models), spec.model)

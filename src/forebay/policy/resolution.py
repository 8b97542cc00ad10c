"""Which target serves a request: pure, from the declared targets and routes.

``target`` named; else a route of the model's name; else targets whose ``models`` match exactly; else by pattern. The
first in file order wins; only a route fails over.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from forebay.domain.errors import NotFound, RequestError
from forebay.domain.lane import route_queue, target_queue
from forebay.domain.record import Record
from forebay.domain.target import Route, RouteEntry, TargetSpec, TargetType

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
MOST_REMEMBERED = 10_000
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Candidate(Record, frozen=True, kw_only=True):
    """A target that may serve the request, and what ``body.model`` becomes (None: it stays)."""

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
        self._known: dict[tuple[str | None, str | None, str | None], Resolution] = {}

    def resolve(self, *, target: str | None, model: str | None, endpoint: str | None) -> Resolution:
        """Chooses. Raises: NotFound (`model_not_found`), RequestError (`endpoint_not_supported`)."""
        asked = (target, model, endpoint)
        known = self._known.get(asked)
        if known is None:
            known = self._resolve(target, model, endpoint)
            if len(self._known) < MOST_REMEMBERED:  # models that match a pattern are the client's to invent
                self._known[asked] = known
        return known

    def _resolve(self, target: str | None, model: str | None, endpoint: str | None) -> Resolution:
        if target is not None:
            return self._named(target, model, endpoint)
        if model is None:
            message = "The request names neither a target nor a model: set `model`, or `body.model`"
            raise RequestError(message, param="model", code="missing_required_parameter")
        if model in self._routes:
            return self._routed(self._routes[model], model, endpoint)
        found = self._matching(model)
        if not found:
            raise NotFound(self._unknown(model), param="model", code="model_not_found")
        chosen = self._serving(found, endpoint)
        return Resolution(
            queue=target_queue(chosen.name),
            candidates=(Candidate(target=chosen.name),),
            endpoint=endpoint_for(chosen, endpoint),
            model=model,
        )

    def model_names(self) -> list[str]:
        """The names that ``/v1/models`` lists: exact models and routes, in file order."""
        names = [name for spec in self._targets.values() for name in spec.exact_models]
        return list(dict.fromkeys([*names, *self._routes]))

    def _named(self, target: str, model: str | None, endpoint: str | None) -> Resolution:
        spec = self._targets.get(target)
        if spec is None:
            known = ", ".join(self._targets) or "none is configured"
            message = f"There is no target {target!r}; the targets: {known}"
            raise NotFound(message, param="target", code="model_not_found")
        self._serving([spec], endpoint)
        rewritten = None if model is not None and _is_match(spec, model) else _first_model(spec)
        return Resolution(
            queue=target_queue(spec.name),
            candidates=(Candidate(target=spec.name, model=rewritten),),
            endpoint=endpoint_for(spec, endpoint),
            model=model or rewritten,
        )

    def _routed(self, route: Route, model: str, endpoint: str | None) -> Resolution:
        specs = [self._targets[entry.target] for entry in route.entries]
        chosen = self._serving(specs, endpoint)
        wanted = endpoint_for(chosen, endpoint)
        candidates = tuple(
            Candidate(target=entry.target, model=_entry_model(entry, self._targets[entry.target]))
            for entry in route.entries
            if serves(self._targets[entry.target], wanted)
        )
        return Resolution(queue=route_queue(route.name), candidates=candidates, endpoint=wanted, model=model)

    def _matching(self, model: str) -> list[TargetSpec]:
        exact = [spec for spec in self._targets.values() if model in spec.exact_models or model == spec.model]
        return exact or [spec for spec in self._targets.values() if _is_match(spec, model)]

    def _serving(self, specs: Sequence[TargetSpec], endpoint: str | None) -> TargetSpec:
        for spec in specs:
            if endpoint is None or serves(spec, normal_endpoint(endpoint)):
                return spec
        message = f"Target {specs[0].name!r} (type {specs[0].type}) does not serve {endpoint}"
        raise RequestError(message, param="endpoint", code="endpoint_not_supported")

    def _unknown(self, model: str) -> str:
        known = ", ".join(self.model_names()[:20]) or "no target is configured"
        return f"The model {model!r} does not exist here; there are: {known}"


def serves(spec: TargetSpec, endpoint: str) -> bool:
    """Whether a target's type speaks the endpoint."""
    match spec.type:
        case TargetType.ANTHROPIC:
            return endpoint == MESSAGES
        case TargetType.OPENAI:
            return endpoint != MESSAGES
        case _:
            return True


def endpoint_for(spec: TargetSpec, endpoint: str | None) -> str:
    """The endpoint as asked for, with ``/v1``; else the type's own."""
    if endpoint is not None:
        return normal_endpoint(endpoint)
    return MESSAGES if spec.type is TargetType.ANTHROPIC else CHAT


def normal_endpoint(endpoint: str) -> str:
    """``chat/completions`` and ``/chat/completions`` are ``/v1/chat/completions``."""
    path = "/" + endpoint.strip("/")
    return path if path.startswith("/v1/") else "/v1" + path


def rewrite_model(body: str, model: str) -> bytes:
    """Sets ``body.model``; every other member stays byte for byte. A body that has it already is returned as it is."""
    try:
        fields = _FIELDS.decode(body)
    except msgspec.ValidationError:  # no object: there is no model to set
        return body.encode()
    wanted = msgspec.json.encode(model)
    if "model" in fields and bytes(fields["model"]).strip() == wanted:
        return body.encode()
    fields["model"] = msgspec.Raw(wanted)
    return msgspec.json.encode(fields)


def _is_match(spec: TargetSpec, model: str) -> bool:
    return model == spec.model or any(fnmatchcase(model, pattern) for pattern in spec.models)


def _first_model(spec: TargetSpec) -> str | None:
    return next(iter(spec.exact_models), spec.model)


def _entry_model(entry: RouteEntry, spec: TargetSpec) -> str | None:
    return entry.model or _first_model(spec)

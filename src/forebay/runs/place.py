"""Where a run's requests go: which target and model, and the settings of the store that keeps its state."""

import hashlib
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from forebay.domain.errors import ConfigurationError, ForebayError, NotFound, RequestError
from forebay.domain.record import Record
from forebay.domain.target import Limits, TargetSpec, TargetType
from forebay.models import CATALOGUE, ModelCache, cache_folder, endpoints_of
from forebay.policy.pricing import prices_for
from forebay.policy.resolution import MESSAGES, Resolver, normal_endpoint
from forebay.policy.windows import is_open, opens_at
from forebay.runs.options import RunOptions
from forebay.settings import Settings, StoreSettings, with_target
from forebay.targets.prices import ListPrices

LISTING_SECONDS = 15.0
FOR_EVER_SECONDS = 100 * 365 * 86_400.0  # a store beside the output is the run's own: its results stay as long as it
NO_BOUND = 2**53


class Place(Record, frozen=True, kw_only=True):
    """``target`` and ``model`` None: each request names its own model. ``identity`` tells places apart."""

    settings: Settings
    target: str | None
    model: str | None
    endpoint: str
    serving: frozenset[str]  # the targets that the run's worker serves
    identity: str


def closed_sentence(place: Place, now: float) -> str | None:
    """What is to be said where none of the run's targets is in its time window: the run waits for hours."""
    specs = [spec for spec in place.settings.targets if spec.name in place.serving]
    if not specs or any(is_open(spec.windows, now) for spec in specs):
        return None
    first = min(specs, key=lambda spec: opens_at(spec.windows, now))
    at = datetime.fromtimestamp(opens_at(first.windows, now), UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    return f"target {first.name!r} is called in its time windows alone: the run waits until {at}"


def choose_place(options: RunOptions, settings: Settings, *, names_models: bool) -> Place:
    """Chooses target and model. ``names_models``: the requests name their models themselves.

    Raises: ConfigurationError: there is no one choice; the message names the choices.
    """
    if options.base_url is not None:
        place = _at_url(options, options.base_url, settings, names_models=names_models)
    elif options.target is None and options.request.model is None:
        place = _only_one(options, settings, names_models=names_models)
    else:
        place = _resolved(options, settings, options.target, options.request.model, names_models=names_models)
    if options.budget_usd is not None:
        _check_priced(place)
    return place if options.concurrency is None else _limited(place, options.concurrency)


def private_store(settings: Settings, beside: Path) -> Settings:
    """The same settings with the store in ``OUTPUT.forebay.db``, for runs without a configuration."""
    path = beside.resolve().with_name(beside.name + ".forebay.db")
    return msgspec.structs.replace(
        settings,
        store=StoreSettings(url=f"sqlite:///{path}", path=path),
        blobs=path.with_name(path.name + ".blobs"),
        result_ttl_seconds=FOR_EVER_SECONDS,
    )


def is_configured(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether anyone said where state is kept."""
    return settings.file is not None or bool(environ.get("FOREBAY_STORE"))


def _at_url(options: RunOptions, base_url: str, settings: Settings, *, names_models: bool) -> Place:
    if not base_url.startswith(("http://", "https://")):
        raise ConfigurationError(f"--base-url {base_url!r} must begin with http:// or https://")
    url = base_url.rstrip("/")
    endpoint = options.request.endpoint
    is_anthropic = endpoint is not None and normal_endpoint(endpoint) == MESSAGES
    model = options.request.model
    if model is None and not names_models:
        model = _only_listed(url, options.api_key)
    spec = TargetSpec(
        name=f"url-{hashlib.blake2b(url.encode(), digest_size=5).hexdigest()}",  # its queue is no other URL's
        type=TargetType.ANTHROPIC if is_anthropic else TargetType.OPENAI,
        base_url=url,
        api_key=options.api_key,
        models=("*",) if model is None else (model, "*"),
    )
    place = _resolved(options, with_target(settings, spec), spec.name, model, names_models=names_models)
    return msgspec.structs.replace(place, identity=url)


def _only_one(options: RunOptions, settings: Settings, *, names_models: bool) -> Place:
    names = _model_names(settings)
    if names_models:
        return _by_each_request(options, settings)
    if len(names) == 1:
        return _resolved(options, settings, None, names[0], names_models=False)
    if not names and len(settings.targets) == 1:
        return _resolved(options, settings, settings.targets[0].name, None, names_models=False)
    if names:
        raise ConfigurationError(f"Say which model: --model with one of {', '.join(names)}")
    pulled = ", ".join(model.name for model in CATALOGUE)
    raise ConfigurationError(f"Say where to ask: --base-url URL, a configured model, or a local --model ({pulled})")


def _by_each_request(options: RunOptions, settings: Settings) -> Place:
    if not settings.targets:
        raise ConfigurationError("No target is configured; say --base-url URL")
    serving = frozenset(spec.name for spec in settings.targets)
    endpoint = normal_endpoint(options.request.endpoint or "/v1/chat/completions")
    return Place(settings=settings, target=None, model=None, endpoint=endpoint, serving=serving, identity="")


def _resolved(
    options: RunOptions, settings: Settings, target: str | None, model: str | None, *, names_models: bool
) -> Place:
    try:
        found = Resolver(settings.targets, settings.routes).resolve(
            target=target, model=model, endpoint=options.request.endpoint
        )
    except NotFound as missing:
        if target is None and model is not None:
            return _local(options, settings, model, missing)
        raise ConfigurationError(str(missing)) from missing
    except RequestError as exc:
        raise ConfigurationError(str(exc)) from exc
    if target is not None and model is None and not names_models:
        _check_unambiguous(target, settings)
    return Place(
        settings=settings,
        target=target,
        model=None if names_models and model is None else found.model,
        endpoint=found.endpoint,
        serving=frozenset(candidate.target for candidate in found.candidates),
        identity=found.queue,
    )


def _check_unambiguous(target: str, settings: Settings) -> None:
    spec = next(spec for spec in settings.targets if spec.name == target)
    if len(spec.exact_models) > 1 or (spec.models and not spec.exact_models):
        choices = ", ".join(spec.models)
        raise ConfigurationError(f"Target {target!r} has several models; say which: --model with one of {choices}")


def _local(options: RunOptions, settings: Settings, model: str, missing: NotFound) -> Place:
    """A local model needs no declaration."""
    known = next((one for one in CATALOGUE if one.name == model), None)
    if known is None:
        locals_ = ", ".join(one.name for one in CATALOGUE)
        raise ConfigurationError(f"{missing}; local models: {locals_}") from missing
    ModelCache(cache_folder()).require(known)
    spec = TargetSpec(name=f"local-{model}", type=TargetType.LOCAL, model=model, endpoints=endpoints_of(model))
    return _resolved(options, with_target(settings, spec), spec.name, model, names_models=False)


def _check_priced(place: Place) -> None:
    """A budget can't be kept where nobody knows what a call costs. Requests that name their models are checked later,
    each before its call.
    """
    specs = [spec for spec in place.settings.targets if spec.name in place.serving]
    model = place.model
    if model in {route.name for route in place.settings.routes}:
        return
    if (model is None and len(specs) != 1) or any(prices_for(spec, model, ListPrices()) for spec in specs):
        return
    raise ConfigurationError(
        f"price_unknown: the price of {model or specs[0].name!r} is unknown, so --budget-usd can't be kept;"
        " set the target's `prices`"
    )


def _limited(place: Place, concurrency: int) -> Place:
    """The same place with so many calls at once at most."""
    specs = tuple(
        msgspec.structs.replace(spec, limits=msgspec.structs.replace(spec.limits or Limits(), concurrency=concurrency))
        if spec.name in place.serving
        else spec
        for spec in place.settings.targets
    )
    return msgspec.structs.replace(place, settings=msgspec.structs.replace(place.settings, targets=specs))


def _model_names(settings: Settings) -> list[str]:
    names: list[str] = []
    for spec in settings.targets:
        names += spec.exact_models or ((spec.model,) if spec.model else ())
    return list(dict.fromkeys([*names, *[route.name for route in settings.routes]]))


def _only_listed(url: str, api_key: str | None) -> str:
    """Asks the server for its models. Raises: ConfigurationError: not exactly one; ForebayError: no answer."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    request = urllib.request.Request(f"{url}/models", headers=headers)  # noqa: S310 - checked to be http(s)
    try:
        with urllib.request.urlopen(request, timeout=LISTING_SECONDS) as reply:  # noqa: S310 - as above
            listed: Any = msgspec.json.decode(reply.read())
        names = [str(model["id"]) for model in listed["data"]]
    except urllib.error.HTTPError as exc:
        raise ConfigurationError(f"{url} does not list its models ({exc.code}); say --model") from exc
    except OSError as exc:
        raise ForebayError(f"{url} can't be reached ({exc}); say --model to wait for it") from exc
    except (msgspec.DecodeError, KeyError, TypeError) as exc:
        raise ConfigurationError(f"{url} does not list its models; say --model") from exc
    if len(names) != 1:
        raise ConfigurationError(f"Say which model: --model with one of {', '.join(names) or 'those of ' + url}")
    return names[0]

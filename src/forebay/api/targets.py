"""``GET /v1/targets``: what is declared, without its secrets, and how much waits for it."""

from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.context import api_of, caller_of
from forebay.api.errors import JSON
from forebay.domain.change import Depth
from forebay.domain.lane import target_queue
from forebay.domain.target import TargetSpec
from forebay.policy.windows import is_open, opens_at, window_text


class LimitsView(msgspec.Struct, kw_only=True):
    """The declared limits; null is unknown and learned."""

    concurrency: int | None
    requests_per_minute: float | None
    tokens_per_minute: float | None


class PricesView(msgspec.Struct, kw_only=True):
    """USD per million tokens, as declared."""

    input: float
    output: float
    cached_input: float | None


class TargetView(msgspec.Struct, kw_only=True):
    """A target as it is declared, and its queue. ``opens_at``: when the next of its time windows opens; null: it is
    open. Its address and what waits there, of all tenants, are for callers of
    the tenant `default` alone; others read null.
    """

    name: str
    object: str = "target"
    type: str
    models: tuple[str, ...]
    modality: str
    placement: str | None
    url: str | None
    limits: LimitsView
    prices: PricesView | None
    windows: list[str]
    opens_at: float | None
    queued: int | None
    running: int | None
    oldest_queued_at: float | None
    dead_letters: int | None


_UNTOLD = dict.fromkeys(("url", "queued", "running", "oldest_queued_at", "dead_letters"))


class TargetList(msgspec.Struct, kw_only=True):
    """All targets, in the order of the file."""

    object: str = "list"
    data: list[TargetView]


async def listed(request: Request) -> Response:
    """GET /v1/targets."""
    api = api_of(request)
    services = api.services
    depths = {depth.queue: depth for depth in await api.depths.latest()}
    now = services.clock.now()
    data = [target_view(spec, depths.get(target_queue(name)), now) for name, spec in services.specs.items()]
    if not caller_of(request).is_operator:
        data = [replace(view, **_UNTOLD) for view in data]
    return Response(msgspec.json.encode(TargetList(data=data)), media_type=JSON)


def target_view(spec: TargetSpec, depth: Depth | None, now: float) -> TargetView:
    """The declared target. Its key, its headers and what stands in its URL beside the place are left out."""
    prices = spec.prices
    return TargetView(
        name=spec.name,
        type=spec.type,
        models=spec.models or ((spec.model,) if spec.model else ()),
        modality=spec.modality,
        placement=spec.placement,
        url=_redacted(spec.base_url or spec.url),
        limits=LimitsView(
            concurrency=spec.limits.concurrency,
            requests_per_minute=spec.limits.requests_per_minute,
            tokens_per_minute=spec.limits.tokens_per_minute,
        ),
        prices=None
        if prices is None
        else PricesView(input=prices.input, output=prices.output, cached_input=prices.cached_input),
        windows=[window_text(window) for window in spec.windows],
        opens_at=None if is_open(spec.windows, now) else opens_at(spec.windows, now),
        queued=depth.queued if depth else 0,
        running=depth.running if depth else 0,
        oldest_queued_at=depth.oldest_queued_at if depth else None,
        dead_letters=depth.dead if depth else 0,
    )


def _redacted(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


ROUTES = [Route("/v1/targets", listed, methods=["GET"])]

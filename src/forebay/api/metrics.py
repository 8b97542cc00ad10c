"""``/metrics``: what the store knows at the moment of the scrape, beside what its processes have counted."""

from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.context import api_of
from forebay.domain.change import Depth
from forebay.domain.webhook import NOTIFY
from forebay.engine.counts import counted_elsewhere
from forebay.telemetry import MetricsRegistry, queue_labels


async def metrics(request: Request) -> Response:
    """GET /metrics, in Prometheus' text format."""
    api = api_of(request)
    depths = await api.depths.latest()
    queues = queue_metrics(depths, list(api.services.targets), api.services.clock.now())
    total = MetricsRegistry()
    for counted in (api.services.meters.counted(), *await counted_elsewhere(api.services)):
        total.add(counted)
    body = generate_latest(queues) + generate_latest(total.registry)
    return Response(body, headers={"content-type": CONTENT_TYPE_LATEST})


def queue_metrics(depths: Sequence[Depth], targets: Sequence[str], now: float) -> CollectorRegistry:
    """Gauges of the queues; a target without jobs shows as zero, so that an alert on it has a series."""
    registry = CollectorRegistry()
    labels = ["target", "lane"]
    queued = Gauge("forebay_queue_depth", "Queued jobs.", labels, registry=registry)
    oldest = Gauge("forebay_oldest_queued_seconds", "Age of the oldest queued job.", labels, registry=registry)
    dead = Gauge("forebay_dead_letters", "Failed jobs that stand in the store.", ["target"], registry=registry)
    for target in targets:
        queued.labels(target, "live")
        oldest.labels(target, "live")
        dead.labels(target)
    ages: dict[tuple[str, str], float] = {}
    for depth in depths:  # several queues may share a label
        target, lane = queue_labels(depth.queue)
        queued.labels(target, lane).inc(depth.queued)
        dead.labels(NOTIFY if lane == NOTIFY else target).inc(depth.dead)
        if depth.oldest_queued_at is not None:
            ages[target, lane] = max(ages.get((target, lane), 0.0), now - depth.oldest_queued_at)
    for label, age in ages.items():
        oldest.labels(*label).set(age)
    return registry


ROUTES = [Route("/metrics", metrics, methods=["GET"])]

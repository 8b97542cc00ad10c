"""Metrics: what the runner tells of its work, and the names under which Prometheus reads it. No label holds an id."""

from typing import Any, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from forebay.domain.attempt import Outcome, Usage
from forebay.domain.job import Status
from forebay.domain.lane import CONTROL

M = TypeVar("M", Counter, Gauge, Histogram)

NO_LABEL = ""
LIVE_LANE = "live"
_TARGET, _ROUTE, _NOTIFY = "target:", "route:", "notify:"
_WAIT_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 43_200, 86_400)  # seconds


class MetricsRegistry:
    """The counters of one process. Methods cost microseconds and never fail."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._jobs = Counter(
            "forebay_jobs", "Jobs that ended here.", ["kind", "target", "status"], registry=self.registry
        )
        self._wait = Histogram(
            "forebay_job_wait_seconds",
            "From due to claimed.",
            ["target"],
            buckets=_WAIT_BUCKETS,
            registry=self.registry,
        )
        self._duration = Histogram(
            "forebay_job_duration_seconds",
            "From created to ended.",
            ["target"],
            buckets=_WAIT_BUCKETS,
            registry=self.registry,
        )
        self._attempts = Counter(
            "forebay_attempts", "Calls of targets, by outcome.", ["target", "outcome"], registry=self.registry
        )
        self._tokens = Counter(
            "forebay_tokens",
            "Tokens that targets reported.",
            ["target", "model", "direction"],
            registry=self.registry,
        )
        self._cost = Counter(
            "forebay_cost_usd", "Cost in USD, where the price is known.", ["target", "model"], registry=self.registry
        )
        self._in_flight = Gauge("forebay_in_flight", "Calls under way here.", ["target"], registry=self.registry)
        self._children: dict[tuple[int | str, ...], Any] = {}

    def job_ended(
        self, kind: str, target: str | None, status: Status, wait_seconds: float | None, duration_seconds: float
    ) -> None:
        """Counts a job that reached a terminal state. ``wait_seconds`` None: it was never claimed."""
        name = target or NO_LABEL
        self._of(self._jobs, kind, name, status).inc()
        if wait_seconds is not None:
            self._of(self._wait, name).observe(max(wait_seconds, 0.0))
        self._of(self._duration, name).observe(max(duration_seconds, 0.0))

    def attempt_ended(
        self, target: str, model: str | None, outcome: Outcome, usage: Usage | None, cost_usd: float | None
    ) -> None:
        """Counts a call with what it used and cost; what is unknown is not counted."""
        self._of(self._attempts, target, outcome).inc()
        if usage is not None:
            self._of(self._tokens, target, model or NO_LABEL, "input").inc(usage.input_tokens)
            self._of(self._tokens, target, model or NO_LABEL, "output").inc(usage.output_tokens)
        if cost_usd is not None and cost_usd >= 0:
            self._of(self._cost, target, model or NO_LABEL).inc(cost_usd)

    def in_flight(self, target: str, calls: int) -> None:
        """Sets how many calls of a target are under way in this process."""
        self._of(self._in_flight, target).set(calls)

    def _of(self, metric: M, *labels: str) -> M:
        """The metric's child, kept: finding it in the library costs more than counting."""
        key: tuple[int | str, ...] = (id(metric), *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return cast("M", child)


def queue_labels(queue: str) -> tuple[str, str]:
    """The labels (target, lane) of a queue; the endpoints of notices are a tenant's text and fall together."""
    if queue.startswith(_TARGET):
        return queue.removeprefix(_TARGET), LIVE_LANE
    if queue.startswith(_ROUTE):
        return queue.removeprefix(_ROUTE), "route"
    return NO_LABEL, "notify" if queue.startswith(_NOTIFY) else CONTROL if queue == CONTROL else "other"

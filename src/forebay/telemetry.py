"""Metrics: what the runner tells of its work, and the names under which Prometheus reads it. No label holds an id."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from forebay.domain.attempt import Outcome, Usage
from forebay.domain.job import Status
from forebay.domain.lane import CONTROL
from forebay.domain.record import Record

Labels = TypeVar("Labels", bound=tuple[str, ...])

NO_LABEL = ""
LIVE_LANE = "live"
_TARGET, _ROUTE, _NOTIFY = "target:", "route:", "notify:"
_BOUNDS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 43_200, 86_400)  # seconds


class CountedTimes(Record, frozen=True, kw_only=True):
    """A target's histogram: how many times fell between two bounds, and their sum."""

    target: str
    counts: list[int]
    total: float


class CountedCalls(Record, frozen=True, kw_only=True):
    """What the calls of one target, model and outcome came to; None where nothing was reported."""

    target: str
    model: str
    outcome: str
    count: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


class Counted(Record, frozen=True, kw_only=True):
    """All that one process has counted, to be added to what others have."""

    jobs: list[tuple[str, str, str, int]] = []  # kind, target, status
    waits: list[CountedTimes] = []
    durations: list[CountedTimes] = []
    calls: list[CountedCalls] = []
    in_flight: dict[str, int] = {}
    events: dict[str, int] = {}  # by whether a rule matched


class MetricsRegistry(Collector):
    """The counters of one process, told from one event loop. Methods cost about a microsecond and never fail: sums are
    kept in plain records, and become Prometheus' samples when they are scraped.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._jobs: dict[tuple[str, str, str], int] = {}
        self._waits: dict[str, _Times] = {}
        self._durations: dict[str, _Times] = {}
        self._calls: dict[tuple[str, str, str], _Calls] = {}
        self._in_flight: dict[str, int] = {}
        self._events: dict[str, int] = {}
        self.registry.register(self)

    def job_ended(
        self, kind: str, target: str | None, status: Status, wait_seconds: float | None, duration_seconds: float
    ) -> None:
        """Counts a job that reached a terminal state. ``wait_seconds`` None: it was never claimed."""
        name = target or NO_LABEL
        key = (kind, name, status)
        self._jobs[key] = self._jobs.get(key, 0) + 1
        if wait_seconds is not None:
            _times(self._waits, name).observe(wait_seconds)
        _times(self._durations, name).observe(duration_seconds)

    def attempt_ended(
        self, target: str, model: str | None, outcome: Outcome, usage: Usage | None, cost_usd: float | None
    ) -> None:
        """Counts a call with what it used and cost; what is unknown is not counted."""
        key = (target, model or NO_LABEL, outcome)
        calls = self._calls.get(key)
        if calls is None:
            calls = self._calls[key] = _Calls()
        calls.count += 1
        if usage is not None:
            calls.has_usage = True
            calls.input_tokens += usage.input_tokens
            calls.output_tokens += usage.output_tokens
        if cost_usd is not None and cost_usd >= 0:
            calls.cost_usd = (calls.cost_usd or 0.0) + cost_usd

    def event_received(self, *, is_matched: bool) -> None:
        """Counts an event that came in for the first time."""
        matched = "true" if is_matched else "false"
        self._events[matched] = self._events.get(matched, 0) + 1

    def in_flight(self, target: str, calls: int) -> None:
        """Sets how many calls of a target are under way in this process."""
        self._in_flight[target] = calls

    def counted(self) -> Counted:
        """Everything counted so far, as data."""
        return Counted(
            jobs=[(*key, count) for key, count in self._jobs.items()],
            waits=[times.counted(target) for target, times in self._waits.items()],
            durations=[times.counted(target) for target, times in self._durations.items()],
            calls=[calls.counted(*key) for key, calls in self._calls.items()],
            in_flight=dict(self._in_flight),
            events=dict(self._events),
        )

    def add(self, counted: Counted) -> None:
        """Adds what another process, or this one, has counted."""
        for kind, target, status, count in counted.jobs:
            key = (kind, target, status)
            self._jobs[key] = self._jobs.get(key, 0) + count
        for known, more in ((self._waits, counted.waits), (self._durations, counted.durations)):
            for times in more:
                _times(known, times.target).add(times)
        for calls in counted.calls:
            self._calls.setdefault((calls.target, calls.model, Outcome(calls.outcome)), _Calls()).add(calls)
        for matched, count in counted.events.items():
            self._events[matched] = self._events.get(matched, 0) + count
        for target, under_way in counted.in_flight.items():
            self._in_flight[target] = self._in_flight.get(target, 0) + under_way

    def collect(self) -> Iterator[Metric]:
        """Everything counted so far, as Prometheus' library asks for it."""
        yield _counter("forebay_jobs", "Jobs that ended here.", ["kind", "target", "status"], dict(self._jobs))
        yield _histogram("forebay_job_wait_seconds", "From due to claimed.", self._waits)
        yield _histogram("forebay_job_duration_seconds", "From created to ended.", self._durations)
        yield from self._collect_calls()
        events = {(matched,): count for matched, count in self._events.items()}
        yield _counter("forebay_events", "Events that came in, by whether a rule matched.", ["matched"], events)
        in_flight = GaugeMetricFamily("forebay_in_flight", "Calls under way here.", labels=["target"])
        for target, under_way in list(self._in_flight.items()):
            in_flight.add_metric([target], under_way)
        yield in_flight

    def _collect_calls(self) -> Iterator[Metric]:
        attempts: dict[tuple[str, str], int] = {}
        tokens: dict[tuple[str, str, str], int] = {}
        costs: dict[tuple[str, str], float] = {}
        for (target, model, outcome), calls in list(self._calls.items()):
            attempts[target, outcome] = attempts.get((target, outcome), 0) + calls.count
            if calls.has_usage:
                for direction, count in (("input", calls.input_tokens), ("output", calls.output_tokens)):
                    tokens[target, model, direction] = tokens.get((target, model, direction), 0) + count
            if calls.cost_usd is not None:
                costs[target, model] = costs.get((target, model), 0.0) + calls.cost_usd
        yield _counter("forebay_attempts", "Calls of targets, by outcome.", ["target", "outcome"], attempts)
        yield _counter("forebay_tokens", "Tokens that targets reported.", ["target", "model", "direction"], tokens)
        yield _counter("forebay_cost_usd", "Cost in USD, where the price is known.", ["target", "model"], costs)


class _Calls:
    """What the calls of one target, model and outcome came to."""

    __slots__ = ("cost_usd", "count", "has_usage", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.count = self.input_tokens = self.output_tokens = 0
        self.has_usage = False
        self.cost_usd: float | None = None

    def counted(self, target: str, model: str, outcome: str) -> CountedCalls:
        return CountedCalls(
            target=target,
            model=model,
            outcome=outcome,
            count=self.count,
            input_tokens=self.input_tokens if self.has_usage else None,
            output_tokens=self.output_tokens if self.has_usage else None,
            cost_usd=self.cost_usd,
        )

    def add(self, more: CountedCalls) -> None:
        self.count += more.count
        if more.input_tokens is not None:
            self.has_usage = True
            self.input_tokens += more.input_tokens
            self.output_tokens += more.output_tokens or 0
        if more.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + more.cost_usd


class _Times:
    """A histogram: how many times fell between two bounds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Counts a time; one below zero (clocks differ) counts as zero."""
        self.counts[bisect_left(_BOUNDS, seconds)] += 1
        if seconds > 0:
            self.total += seconds

    def counted(self, target: str) -> CountedTimes:
        return CountedTimes(target=target, counts=list(self.counts), total=self.total)

    def add(self, more: CountedTimes) -> None:
        """Bounds of another release are not added: a count would fall into a wrong one."""
        if len(more.counts) == len(self.counts):
            self.counts = [mine + theirs for mine, theirs in zip(self.counts, more.counts, strict=True)]
            self.total += more.total

    def cumulated(self) -> list[tuple[str, float]]:
        """For each bound how many times were not above it."""
        below = 0
        pairs: list[tuple[str, float]] = []
        for bound, count in zip((*(str(float(bound)) for bound in _BOUNDS), "+Inf"), self.counts, strict=True):
            below += count
            pairs.append((bound, below))
        return pairs


def _times(by_target: dict[str, _Times], target: str) -> _Times:
    found = by_target.get(target)
    if found is None:
        found = by_target[target] = _Times()
    return found


def _counter(name: str, text: str, labels: list[str], sums: Mapping[Labels, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sums.items():
        family.add_metric(list(key), value)
    return family


def _histogram(name: str, text: str, by_target: dict[str, _Times]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=["target"])
    for target, times in list(by_target.items()):
        family.add_metric([target], times.cumulated(), times.total)
    return family


def queue_labels(queue: str) -> tuple[str, str]:
    """The labels (target, lane) of a queue; the endpoints of notices are a tenant's text and fall together."""
    if queue.startswith(_TARGET):
        return queue.removeprefix(_TARGET), LIVE_LANE
    if queue.startswith(_ROUTE):
        return queue.removeprefix(_ROUTE), "route"
    return NO_LABEL, "notify" if queue.startswith(_NOTIFY) else CONTROL if queue == CONTROL else "other"

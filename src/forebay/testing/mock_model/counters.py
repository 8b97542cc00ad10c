"""What the mock model counts of its calls, so that a test can say what was sent and how often."""

from collections import Counter
from typing import Any


class Counters:
    """Calls by outcome (a status or a fault's name), how many there were at once, and how often each id came."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Counts anew; calls under way stay counted as such."""
        self.total = 0
        self.refused = 0  # by a limit, or with a 429 or 503 on demand
        self.max_in_flight = self.in_flight
        self.by_outcome = Counter[str]()
        self.by_endpoint = Counter[str]()
        self.by_job = Counter[str]()
        self.by_key = Counter[str]()

    def begin(self, endpoint: str, job_id: str | None, key: str | None) -> None:
        self.total += 1
        self.in_flight += 1
        if self.in_flight > self.max_in_flight:
            self.max_in_flight = self.in_flight
        self.by_endpoint[endpoint] += 1
        if job_id is not None:
            self.by_job[job_id] += 1
        if key is not None:
            self.by_key[key] += 1

    def end(self, outcome: str) -> None:
        self.in_flight -= 1
        self.by_outcome[outcome] += 1

    def view(self, *, with_ids: bool) -> dict[str, Any]:
        """The JSON of ``GET /mock/calls``."""
        shown: dict[str, Any] = {
            "total": self.total,
            "refused": self.refused,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "by_outcome": dict(self.by_outcome),
            "by_endpoint": dict(self.by_endpoint),
        }
        if with_ids:
            shown["by_job_id"] = dict(self.by_job)
            shown["by_idempotency_key"] = dict(self.by_key)
        return shown

"""What the mock model counts of its calls, so that a test can say what was sent and how often."""

from collections import Counter
from typing import Any

UNDER_WAY = "under way"


class Counters:
    """Calls by outcome (a status or a fault's name), how many there were at once, how often each id came, and what
    became of each attempt of each job.
    """

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
        self.by_call: dict[str, str] = {}  # by "<job id> <attempt>"
        self.repeated = Counter[str]()  # calls that came once more under the same attempt
        self.by_key = Counter[str]()

    def begin(self, endpoint: str, job_id: str | None, attempt: str | None, key: str | None) -> str | None:
        """Counts a call. Returns the name under which its end is told, if it has one."""
        self.total += 1
        self.in_flight += 1
        if self.in_flight > self.max_in_flight:
            self.max_in_flight = self.in_flight
        self.by_endpoint[endpoint] += 1
        if key is not None:
            self.by_key[key] += 1
        if job_id is None:
            return None
        call = f"{job_id} {attempt or 0}"
        if call in self.by_call:
            self.repeated[call] += 1
        self.by_call[call] = UNDER_WAY
        return call

    def end(self, outcome: str, call: str | None) -> None:
        self.in_flight -= 1
        self.by_outcome[outcome] += 1
        if call in self.by_call:  # else it began before a reset
            self.by_call[call] = outcome

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
            shown["by_job_id"] = Counter(call.partition(" ")[0] for call in [*self.by_call, *self.repeated.elements()])
            shown["by_call"] = dict(self.by_call)
            shown["repeated"] = dict(self.repeated)
            shown["by_idempotency_key"] = dict(self.by_key)
        return shown

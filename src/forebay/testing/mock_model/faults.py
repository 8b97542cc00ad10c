"""Which call gets which fault: asked for in the prompt, or by chance."""

import random
import re
from collections import Counter
from dataclasses import dataclass

from forebay.testing.mock_model.options import Fault, MockOptions

_MARKER = re.compile(rb"\[\[fault:([a-z0-9-]+)(?::(\d+))?\]\]")
_STATUSES = range(300, 600)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to a call: a status other than 200, or one of the faults of the connection or the body."""

    status: int | None = None
    fault: Fault | None = None

    @property
    def outcome(self) -> str:
        return str(self.status) if self.status is not None else str(self.fault or 200)


WELL = Verdict()


class FaultChooser:
    """Decides per call; with one seed and one order of calls always alike."""

    def __init__(self, options: MockOptions) -> None:
        self._options = options
        self._chance = random.Random(options.seed)
        self._seen: Counter[bytes] = Counter()  # of requests whose marker counts, by body

    def choose(self, body: bytes) -> Verdict:
        """A marker ``[[fault:KIND]]`` or ``[[fault:KIND:N]]`` (the first N times of this body) goes before chance."""
        if b"[[fault:" in body and (marker := _MARKER.search(body)) is not None:
            kind, times = marker[1].decode(), marker[2]
            if times is None:
                return verdict_of(kind)
            self._seen[body] += 1
            if self._seen[body] <= int(times):
                return verdict_of(kind)
            return WELL
        options = self._options
        if options.fault_rate and self._chance.random() < options.fault_rate:
            return verdict_of(self._chance.choice(options.faults))
        return WELL

    def delay_seconds(self) -> float:
        """The latency of this call."""
        options = self._options
        if not options.latency_ms:
            return 0.0
        spread = 1.0 + options.jitter * self._chance.uniform(-1, 1) if options.jitter else 1.0
        return max(options.latency_ms * spread, 0.0) / 1000


def verdict_of(kind: str) -> Verdict:
    """Reads a fault's name or a status; an unknown one is a 400, so that a slip in a test shows."""
    if kind.isdigit():
        return Verdict(status=int(kind) if int(kind) in _STATUSES else 400)
    try:
        return Verdict(fault=Fault(kind))
    except ValueError:
        return Verdict(status=400)

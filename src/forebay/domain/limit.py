"""Limits that hold over all processes on one store: what is asked for, and what is granted."""

from forebay.domain.record import Record


class Grant(Record, frozen=True, kw_only=True):
    """The reply to a reservation. What was granted may be used after ``wait_seconds``; if nothing was, ask again then.

    A span, not a time: the caller's clock may differ from the store's.
    """

    granted: float
    wait_seconds: float


class Rate(Record, frozen=True, kw_only=True):
    """A limit by rate: ``amount`` per ``period_seconds``, of which ``burst`` may come at once."""

    name: str
    per_second: float
    burst: float

"""Attempt: one call of a target, written before it is sent and completed by its answer. The attempts are the ledger."""

from collections.abc import Iterable
from enum import StrEnum

from forebay.domain.record import Record


class Outcome(StrEnum):
    """How a call ended. ``unknown``: the worker died in it; it may have been answered and paid for."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    INVALID_OUTPUT = "invalid_output"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Usage(Record, frozen=True, kw_only=True):
    """Tokens of one call, or summed over several. What an upstream didn't say is None in the view, so this is whole
    or absent.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def plus(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )

    def minus(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens - other.input_tokens,
            cached_tokens=self.cached_tokens - other.cached_tokens,
            output_tokens=self.output_tokens - other.output_tokens,
            reasoning_tokens=self.reasoning_tokens - other.reasoning_tokens,
        )


def summed(usages: Iterable[Usage | None]) -> Usage | None:
    """The tokens of all that are known; None if none is."""
    total: Usage | None = None
    for usage in usages:
        if usage is not None:
            total = usage if total is None else total.plus(usage)
    return total


def summed_usd(costs: Iterable[float | None]) -> float | None:
    """The costs that are known; None if none is."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


class Attempt(Record, frozen=True, kw_only=True):
    """One call. ``(job_id, number)`` is its identity; ``fence`` proves the lease under which it was begun."""

    job_id: str
    number: int  # 1, 2, … within the job
    fence: int
    target: str
    started_at: float
    model: str | None = None
    outcome: Outcome = Outcome.RUNNING
    finished_at: float | None = None
    status_code: int | None = None
    error: str | None = None
    retry_at: float | None = None
    usage: Usage | None = None
    cost_usd: float | None = None

"""What a run reports at its end, and what a dry run expects."""

from typing import Any

import msgspec

from forebay.domain.attempt import Usage
from forebay.domain.record import Record


class Summary(Record, frozen=True, kw_only=True):
    """``reused`` of the succeeded were paid for by earlier runs; calls, usage and cost are this run's alone."""

    records: int
    succeeded: int
    failed: int
    reused: int
    calls: int | None
    usage: dict[str, int] | None
    cost_usd: float | None
    seconds: float
    output: str
    errors: str | None
    batch: str | msgspec.UnsetType | None = msgspec.UNSET  # of a detached run alone; None: there was nothing to do


class Expectation(Record, frozen=True, kw_only=True):
    """A dry run: nothing was sent. Tokens are estimated by length; the output by the bound each request names."""

    records: int
    already_paid: int
    to_send: int
    refused: int  # records that can't be asked: they lack what the template names
    input_tokens: int
    output_tokens: int
    cost_usd: float | None  # at most, by list price; None: unknown
    requests: list[dict[str, Any]]  # the first three, rendered


def usage_view(usage: Usage | None) -> dict[str, int] | None:
    """The counts as the API shows them."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "total_tokens": usage.total_tokens,
    }

"""What a run reports at its end."""

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

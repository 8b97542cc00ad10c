"""How much a bench measures: the sizes of a run of some minutes, of a long one, and of the least there can be."""

from typing import Any

from msgspec.structs import replace

from forebay.domain.record import Record


class Sizes(Record, frozen=True, kw_only=True):
    """Counts of calls, jobs and lines by section."""

    jobs: int = 10_000  # durable, and its bare pools; twice that for the two workers
    rounds: int = 3  # interleaved repetitions, of which the medians are told
    latency_ms: float = 50.0
    submissions: int = 20_000
    awaited: int = 60
    pushes: int = 200  # by each number of clients; one each at least
    lines: tuple[int, ...] = (10_000, 100_000)  # of batches
    backlog: int = 200_000
    backlog_baseline: int = 1_000
    postgres_backlog: int = 100_000
    postgres_rounds: int = 10  # of 2,000 jobs, beside each queue
    fanout_branches: int = 5_000  # of each width
    events: int = 20_000
    pipeline_records: int = 20_000
    growth_jobs: int = 5_000  # of a round
    growth_rounds: int = 18
    limits_seconds: float = 30.0  # that a lane has to find a limit
    scaling_seconds: float = 8.0  # of each number of workers


FULL = {
    "jobs": 50_000,
    "lines": (10_000, 100_000, 1_000_000),
    "backlog": 1_000_000,
    "postgres_backlog": 1_000_000,
    "awaited": 200,
    "pushes": 3_000,
    "pipeline_records": 1_000_000,
    "growth_jobs": 20_000,
    "growth_rounds": 60,
}


def sized(*, is_full: bool, **chosen: Any) -> Sizes:
    """The default sizes, or the full ones, with those that were chosen (None: not chosen)."""
    wanted = {name: value for name, value in chosen.items() if value is not None}
    return replace(Sizes(), **({**FULL, **wanted} if is_full else wanted))

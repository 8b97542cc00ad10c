"""What a look at an installation finds: one line each, with the next step in it. `forebay doctor` shows them."""

from enum import StrEnum

from forebay.domain.record import Record


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Record, frozen=True, kw_only=True):
    """One line of the report."""

    name: str
    level: Level
    message: str


def of_stale_leases(count: int) -> Check:
    """What is said of jobs that workers held when they died."""
    if not count:
        return Check(name="leases", level=Level.OK, message="none of a dead worker")
    message = f"{count:,} jobs are held by dead workers: start `forebay worker`, which takes them back at once"
    return Check(name="leases", level=Level.WARN, message=message)


def size_of(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def span_of(seconds: float) -> str:
    """A span of time for people."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} s"

"""The mock model's limits: rates, which fill at an even pace with a small burst (GCRA), and calls at once."""

from forebay.testing.mock_model.options import MockOptions, Move

SECONDS_PER_MINUTE = 60.0


class Bucket:
    """Holds the allowance of ``burst_seconds``, at least 1; full at the beginning."""

    def __init__(self, per_minute: float, burst_seconds: float = SECONDS_PER_MINUTE) -> None:
        self.per_minute = per_minute
        self._size = max(1.0, per_minute * min(burst_seconds, SECONDS_PER_MINUTE) / SECONDS_PER_MINUTE)
        self._level = self._size
        self._at: float | None = None

    def take(self, amount: float, now: float) -> float:
        """Takes the amount if it is there. Returns 0, or how many seconds to wait until it will be.

        An amount beyond the bucket's size needs a full one, and is paid for in full.
        """
        if self._at is not None:
            self._level = min(self._size, self._level + (now - self._at) * self.per_minute / SECONDS_PER_MINUTE)
        self._at = now
        needed = min(amount, self._size)
        if self._level >= needed:
            self._level -= amount
            return 0.0
        return (needed - self._level) * SECONDS_PER_MINUTE / self.per_minute

    def headers(self, unit: str) -> list[str]:
        """OpenAI's headers for ``requests`` or ``tokens``, as lines: a minute's allowance, as theirs are, although a
        burst of it is refused.
        """
        used = self._size - self._level
        return [
            f"x-ratelimit-limit-{unit}: {self.per_minute:.0f}",
            f"x-ratelimit-remaining-{unit}: {max(0, int(self.per_minute - used))}",
            f"x-ratelimit-reset-{unit}: {used * SECONDS_PER_MINUTE / self.per_minute:.3f}s",
        ]


class Room:
    """How many calls may be under way at once, by the time since the first one."""

    def __init__(self, options: MockOptions) -> None:
        fixed = options.concurrency
        first = () if fixed is None else (Move(concurrency=fixed),)
        self._moves = (*first, *options.moves)
        self._overload = options.overload
        self._capacity = options.capacity
        self._began_at: float | None = None

    def refusal(self, in_flight: int, now: float) -> int | None:
        """The status of a call that finds no room: 429, or 503 beyond the overload. ``in_flight`` counts it."""
        if self._began_at is None:
            self._began_at = now
        if self._moves:
            since = now - self._began_at
            allowed = next((move for move in reversed(self._moves) if move.after_seconds <= since), None)
            if allowed is not None and in_flight > allowed.concurrency:
                return 429
        return 503 if self._overload is not None and in_flight > self._overload else None

    def slowdown(self, in_flight: int) -> float:
        """By what an answer takes longer: calls beyond the capacity share it."""
        return max(1.0, in_flight / self._capacity) if self._capacity else 1.0

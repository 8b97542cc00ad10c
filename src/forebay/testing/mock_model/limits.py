"""The mock model's rate limits: a bucket of one minute's allowance that fills at an even rate."""


class Bucket:
    """Holds at most ``per_minute``; full at the beginning."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._level = per_minute
        self._at: float | None = None

    def take(self, amount: float, now: float) -> float:
        """Takes the amount if it is there. Returns 0, or how many seconds to wait until it will be."""
        if self._at is not None:
            self._level = min(self.per_minute, self._level + (now - self._at) * self.per_minute / 60)
        self._at = now
        amount = min(amount, self.per_minute)
        if self._level >= amount:
            self._level -= amount
            return 0.0
        return (amount - self._level) * 60 / self.per_minute

    def headers(self, unit: str) -> list[str]:
        """OpenAI's headers for ``requests`` or ``tokens``, as lines."""
        reset_seconds = (self.per_minute - self._level) * 60 / self.per_minute
        return [
            f"x-ratelimit-limit-{unit}: {self.per_minute:.0f}",
            f"x-ratelimit-remaining-{unit}: {int(self._level)}",
            f"x-ratelimit-reset-{unit}: {reset_seconds:.3f}s",
        ]

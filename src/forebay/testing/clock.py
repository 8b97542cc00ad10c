"""FakeClock: time that stands still until a test moves it."""

START = 1_800_000_000.0  # a whole number of seconds, so that sums of test times stay exact


class FakeClock:
    """A Clock for tests. Safe to read from any thread."""

    def __init__(self, now: float = START) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> float:
        """Moves the time on and returns it."""
        self._now += seconds
        return self._now

"""What a bench measured: figures, each beside its baseline and its aim, and the report that they make."""

from forebay.domain.record import Record


class Aim(Record, frozen=True, kw_only=True):
    """What a figure should reach. It judges the ratio to the baseline where there is one, else what was measured."""

    at_least: float | None = None
    at_most: float | None = None

    @property
    def text(self) -> str:
        parts = [f"≥ {number(self.at_least)}"] if self.at_least is not None else []
        return " and ".join([*parts, f"≤ {number(self.at_most)}"] if self.at_most is not None else parts)

    def is_met(self, value: float) -> bool:
        if self.at_least is not None and value < self.at_least:
            return False
        return self.at_most is None or value <= self.at_most


class Figure(Record, frozen=True, kw_only=True):
    """One line of the report. ``baseline`` was measured in the same run."""

    section: str
    name: str
    measured: float
    unit: str
    baseline: float | None = None
    baseline_name: str = ""
    aim: Aim | None = None

    @property
    def ratio(self) -> float | None:
        return self.measured / self.baseline if self.baseline else None

    @property
    def judged(self) -> float:
        """What the aim is about."""
        return self.measured if self.ratio is None else self.ratio

    @property
    def is_met(self) -> bool | None:
        """None: it has no aim."""
        return None if self.aim is None else self.aim.is_met(self.judged)

    @property
    def miss(self) -> str:
        """One sentence on an aim that was missed."""
        aim = self.aim.text if self.aim else ""
        unit = f" {self.unit}" if self.ratio is None and self.unit else ""
        return f"{self.section}: {self.name}: {number(self.judged)}{unit}, and the aim is {aim}"


class Report(Record, frozen=True, kw_only=True):
    """One run. ``notes`` say what is to be known of it: which mock, which client."""

    figures: tuple[Figure, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def misses(self) -> list[str]:
        """The aims that this run did not reach."""
        return [figure.miss for figure in self.figures if figure.is_met is False]


def number(value: float) -> str:
    """A number as a person reads it: three digits and more where they are before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2g}" if abs(value) < 0.1 else f"{value:.2f}"

"""What is to be written into a table of a database."""

from dataclasses import dataclass
from pathlib import Path

from forebay.domain.pipeline import TableRef
from forebay.policy.steps.write import WriteMode

MARKS = "forebay_writes"  # which appends were done: one that is done again does nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """``source``: the rows, as Parquet; ``mark``: this write of this run, whenever it is tried again."""

    source: Path
    table: TableRef
    into: str
    mode: WriteMode
    key: tuple[str, ...]
    mark: str

    @property
    def path(self) -> tuple[str, ...]:
        """The table's name, and its schema's before it if it has one."""
        return tuple(self.into.split(".", 1))

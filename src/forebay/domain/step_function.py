"""What a Python function that is a step of a pipeline gets and is marked with: exported as ``forebay.*``."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

MARK = "__forebay_step__"
DEFAULT_BATCH = 1000
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Takes(StrEnum):
    """What the function is called with."""

    RECORD = "record"
    BATCH = "batch"  # a list of records
    TABLE = "table"  # all of them, as a StepTable


@dataclass(frozen=True, slots=True)
class StepMark:
    """How a function wants to be called where the pipeline says nothing else."""

    per: Takes = Takes.RECORD
    batch_size: int = DEFAULT_BATCH


class StepTable:
    """The records of a step's input: an iterable of dicts, one at a time. ``path``: the same as a Parquet file, for
    a library of data frames; it is to be read, never to be changed.
    """

    def __init__(self, path: str, columns: Mapping[str, str], rows: int, records: Callable[[], Iterator[Any]]) -> None:
        self.path = path
        self.columns = dict(columns)  # names and DuckDB's types
        self._rows = rows
        self._records = records

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._records()

    def __len__(self) -> int:
        return self._rows


def step(
    function: _Function | None = None, *, per: str = Takes.RECORD, batch_size: int = DEFAULT_BATCH
) -> _Function | Callable[[_Function], _Function]:
    """Marks a function as a step, which a pipeline names as ``python: "module:name"``. It gets a record (a dict), with
    ``per="batch"`` a list of them, with ``per="table"`` a StepTable, and returns or yields records; ``None`` is none.
    Keyword arguments called ``params`` and ``run`` get those of the run.

    Raises: ValueError: no such ``per``, or a batch without records.
    """
    if batch_size < 1:
        raise ValueError(f"a batch has at least one record, not {batch_size}")
    mark = StepMark(per=Takes(per), batch_size=batch_size)

    def marked(function: _Function) -> _Function:
        setattr(function, MARK, mark)
        return function

    return marked if function is None else marked(function)

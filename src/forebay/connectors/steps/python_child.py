"""The process in which a step's Python function runs: reads a Parquet file, writes JSON lines, ends with its parent.

Started by ``python_process`` with the path of its orders. What the function prints goes to the standard error.
"""

import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import msgspec

from forebay.connectors.duck import QUIET, decode_row, free_name, literal
from forebay.domain.record import Record
from forebay.domain.step_function import MARK, StepMark, StepTable, Takes

ROWS_AT_ONCE = 1000
FUNCTION_FAILED = "function_failed"
REASON_CHARACTERS = 500
_TABLE = "table"

Records = Iterator[dict[str, Any]]


class Orders(Record, frozen=True, kw_only=True):
    """What the process is to do. ``source`` None: the function makes its records itself."""

    function: str
    path: tuple[str, ...]
    source: str | None
    columns: dict[str, str]
    rows: int
    per: Takes | None
    batch_size: int | None
    scope: dict[str, Any]
    output: str
    rejected: str
    table: str  # where a function leaves a whole Parquet file
    report: str
    memory: str


class Report(Record, frozen=True, kw_only=True):
    """What has come of it. ``failure``: why nothing has."""

    entered: int = 0
    succeeded: int = 0
    failed: int = 0
    is_file: bool = False
    failure: str | None = None


class _Failed(Exception):
    """The step can't be done; the text says why."""


def main() -> None:
    """Does the orders, and writes the report."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    orders = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Orders)
    sys.path[:0] = [one for one in orders.path if one not in sys.path]
    try:
        report = _Calls(orders).run()
    except _Failed as exc:
        report = Report(failure=str(exc))
    Path(orders.report).write_bytes(msgspec.json.encode(report))
    sys.stderr.flush()
    os._exit(0)  # not by way of threads that the function may have left


class _Calls:
    """The function's calls."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        function = _loaded(orders.function)
        mark = getattr(function, MARK, StepMark())
        self._per = orders.per or (mark.per if orders.source is not None else Takes.TABLE)
        self._batch_size = orders.batch_size or mark.batch_size
        self._call = partial(function, **_wanted(function, orders.scope))
        self._entered = self._succeeded = self._failed = 0

    def run(self) -> Report:
        with Path(self._orders.output).open("wb") as output, Path(self._orders.rejected).open("wb") as rejected:
            if self._per is Takes.TABLE:
                return self._whole(output)
            records = self._records()
            size = self._batch_size if self._per is Takes.BATCH else 1
            while batch := list(islice(records, size)):
                self._some(batch, output, rejected)
        return Report(entered=self._entered, succeeded=self._succeeded, failed=self._failed)

    def _some(self, batch: list[dict[str, Any]], output: BinaryIO, rejected: BinaryIO) -> None:
        """Calls once; what it gives is written whole, or its records are rejected."""
        self._entered += len(batch)
        kept = [msgspec.json.encode(record) for record in batch]  # as they were, whatever the function does to them
        try:
            lines = [_encoded(made) for made in _made(self._call(batch if self._per is Takes.BATCH else batch[0]))]
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a user's function may raise anything: a failed record
            error = msgspec.json.encode({"code": FUNCTION_FAILED, "message": _reason(exc)})
            for record in kept:
                rejected.write(b'{"record":%b,"error":%b}\n' % (record, error))
            self._failed += len(batch)
            return
        output.write(b"".join(lines))
        self._succeeded += len(lines)

    def _whole(self, output: BinaryIO) -> Report:
        orders = self._orders
        arguments = [] if orders.source is None else [self._table(orders.source)]
        try:
            made = self._call(*arguments)
            if _is_file(made, Path(orders.table)):
                return Report(entered=orders.rows, is_file=True)
            for one in _made(made):
                output.write(_encoded(one))
                self._succeeded += 1
        except (Exception, SystemExit) as exc:
            raise _Failed(f"function {orders.function!r} raised {_reason(exc)}") from exc
        return Report(entered=orders.rows, succeeded=self._succeeded)

    def _table(self, source: str) -> StepTable:
        return StepTable(source, self._orders.columns, self._orders.rows, self._records)

    def _records(self) -> Records:
        row = free_name("row_", self._orders.columns)
        with duckdb.connect(config={"memory_limit": self._orders.memory, "temp_directory": ""}) as connection:
            connection.execute("SET threads = 1")
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(QUIET)
            source = literal(self._orders.source or "")
            found = connection.execute(f"SELECT to_json({row}) FROM read_parquet({source}) AS {row}")
            while rows := found.fetchmany(ROWS_AT_ONCE):
                for (text,) in rows:
                    yield decode_row(text)


def _loaded(named: str) -> Callable[..., Any]:
    module, _, path = named.partition(":")
    try:
        found: Any = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except AttributeError as exc:
        raise _Failed(f"module {module!r} has no {path!r}") from exc
    except (Exception, SystemExit) as exc:
        raise _Failed(f"{module!r} can't be imported: {_reason(exc)}") from exc
    if not callable(found):
        raise _Failed(f"{named!r} is not a function")
    if inspect.iscoroutinefunction(found):
        raise _Failed(f"{named!r} is async: a step's function is called, and not awaited")
    function: Callable[..., Any] = found
    return function


def _wanted(function: Callable[..., Any], scope: dict[str, Any]) -> dict[str, Any]:
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):  # one written in C tells nothing
        return {}
    return {name: scope.get(name, {}) for name in ("params", "run") if name in names}


def _made(returned: Any) -> Iterable[Any]:
    if returned is None:
        return ()
    return (returned,) if isinstance(returned, dict) else iter(returned)


def _is_file(returned: Any, path: Path) -> bool:
    """Whether the function made a whole table: a Parquet file, or a data frame of Polars or pandas."""
    for name in ("sink_parquet", "write_parquet", "to_parquet"):
        if hasattr(returned, name):
            getattr(returned, name)(path)
            return True
    if isinstance(returned, Path):
        path.symlink_to(returned.resolve())
        return True
    return False


def _encoded(record: Any) -> bytes:
    if not isinstance(record, dict):
        raise TypeError(f"it gave a {type(record).__name__} where a record is a dict")
    return msgspec.json.encode(record, enc_hook=_plain) + b"\n"


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy and its like, as lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def _reason(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"[:REASON_CHARACTERS]


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # it writes nothing: this returns when it is gone
    os._exit(1)


if __name__ == "__main__":
    main()

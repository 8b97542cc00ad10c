"""Steps of kind ``python``: a function in a process of its own, which ends when the step does."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import duckdb
import msgspec

from forebay.connectors.duck import literal, name, refusal
from forebay.connectors.json_lines import lines_query, structure_of, types_of
from forebay.connectors.parquet import copy_out, group_rows, keep_table, scanned
from forebay.connectors.steps.python_child import Orders, Report
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import STEP_FAILED, Counts, StepOutcome, StepOutput, StepWork, TableRef
from forebay.policy.steps.python import PythonOptions, read_python

CHILD = "forebay.connectors.steps.python_child"
_STANDARD_ERROR = 2


def run_python(work: StepWork, place: Workplace) -> StepOutcome:
    """Calls the function. Raises: RequestError: it can't be called, or its whole table failed."""
    options = read_python(work.step.options)
    tables = [output.table for output in work.inputs.values() if output.table is not None]
    if len(tables) > 1:
        raise RequestError("a function takes the table of one step: name it as `from`", param="from")
    table = tables[0] if tables else None
    orders = _orders(work, options, table, place)
    report = _called(orders, place)
    if report.failure is not None:
        raise RequestError(report.failure, code=STEP_FAILED)
    try:
        made = _made(orders, options, table, report, place)
        rejected = _rejected(orders, table, place) if report.failed and table is not None else None
    except duckdb.Error as exc:
        raise refusal(exc, folder=place.folder) from exc
    entered = report.entered or made.rows
    counts = Counts(entered=entered, succeeded=max(entered - report.failed, 0), failed=report.failed)
    return StepOutcome(output=StepOutput(table=made, rejected=rejected), counts=counts)


def search_path(folder: str) -> tuple[str, ...]:
    """Where modules of a pipeline are looked for: beside it first, then where ours are."""
    return tuple(dict.fromkeys(os.path.abspath(one) for one in (folder, os.getcwd(), *sys.path)))


def _orders(work: StepWork, options: PythonOptions, table: TableRef | None, place: Workplace) -> Orders:
    return Orders(
        function=options.function,
        path=search_path(work.folder),
        source=None if table is None else str(place.local(table.blob_id)),
        columns={} if table is None else table.columns,
        rows=0 if table is None else table.rows,
        per=options.per,
        batch_size=options.batch_size,
        scope=work.scope,
        output=str(place.path("output.jsonl")),
        rejected=str(place.path("rejected.jsonl")),
        table=str(place.path("table.parquet")),
        report=str(place.path("report.json")),
        memory=place.memory,
    )


def _called(orders: Orders, place: Workplace) -> Report:
    """Runs the process to its end; stopping the work kills it, with all that it has started."""
    written = place.path("orders.json")
    written.write_bytes(msgspec.json.encode(orders))
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", CHILD, str(written)],
        stdin=subprocess.PIPE,
        stdout=_STANDARD_ERROR,  # ours may be somebody's data
        start_new_session=True,
    )
    try:
        with place.stopper.breaking(lambda: _kill(process)):
            code = process.wait()
    finally:
        _kill(process)
        process.communicate()
    place.stopper.check()
    report = Path(orders.report)
    if code != 0 or not report.exists():
        how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with exit code {code}"
        raise RequestError(f"the process of function {orders.function!r} ended {how}", code=STEP_FAILED)
    return msgspec.json.decode(report.read_bytes(), type=Report)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _made(orders: Orders, options: PythonOptions, table: TableRef | None, report: Report, place: Workplace) -> TableRef:
    result = place.path("result.parquet")
    with place.connection() as connection:
        if report.is_file:
            query = f"SELECT * FROM read_parquet({literal(orders.table)})"
            copy_out(connection, query, result, rows=group_rows(connection, [Path(orders.table)]))
            return keep_table(place, result)
        lines = [Path(orders.output)]
        found = structure_of(connection, lines)
        told = types_of(found, found)
        known = {} if table is None else table.columns
        kept = {column: known[column] for column in (told or known) if column in known and _is_plain(known[column])}
        types = {**told, **kept, **options.columns}
        if not types:
            raise RequestError(f"function {orders.function!r} gave no record: declare its `columns`", code=STEP_FAILED)
        try:
            copy_out(connection, lines_query(lines, types), result, rows=scanned(connection))
        except duckdb.Error:
            if not told or not kept:
                raise
            types = {**told, **options.columns}  # the function has made another thing of a column
            copy_out(connection, lines_query(lines, types), result, rows=scanned(connection))
    return keep_table(place, result)


def _is_plain(kind: str) -> bool:
    """Whether a column's own type can be told from JSON again."""
    return not kind.startswith(("BLOB", "UNION", "MAP"))


def _rejected(orders: Orders, table: TableRef, place: Workplace) -> TableRef:
    """The records as they went in, each with its error."""
    result = place.path("rejected.parquet")
    types = ", ".join(f"{name(column)} {kind}" for column, kind in table.columns.items() if column.lower() != "error")
    columns = {"record": f"STRUCT({types})", "error": "STRUCT(code VARCHAR, message VARCHAR)"}
    with place.connection() as connection:
        source = lines_query([Path(orders.rejected)], columns)
        copy_out(connection, f"SELECT unnest(record), error FROM ({source})", result, rows=scanned(connection))
    return keep_table(place, result)

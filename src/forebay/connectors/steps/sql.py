"""Steps of kind ``sql``: one SELECT over the inputs, which reaches nothing else."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from forebay.connectors.duck import literal, name, refusal
from forebay.connectors.parquet import copy_out, group_rows, keep_table, local_tables, scanned, view
from forebay.connectors.statements import read_statement
from forebay.connectors.workplace import Workplace
from forebay.domain.pipeline import Counts, StepOutcome, StepOutput, StepWork
from forebay.policy.steps.sql import read_sql

_WIDE = ("HUGEINT", "UHUGEINT")

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def run_sql(work: StepWork, place: Workplace) -> StepOutcome:
    """Makes a table of the query's rows."""
    statement = read_statement(read_sql(work.step.options).query)
    parameters = {scope: work.scope.get(scope) or {"": None} for scope in statement.scopes}
    result = place.path("result.parquet")
    try:
        try:
            _query(statement.text, parameters, work, place, result)
        except duckdb.OutOfMemoryException:  # its rows are larger than those of its inputs
            _query(statement.text, parameters, work, place, result, is_wide=True)
    except duckdb.Error as exc:
        raise refusal(exc, folder=place.folder) from exc
    table = keep_table(place, result)
    entered = sum(output.table.rows for output in work.inputs.values() if output.table is not None)
    return StepOutcome(output=StepOutput(table=table), counts=Counts(entered=entered, succeeded=table.rows))


def _query(
    text: str, parameters: dict[str, Any], work: StepWork, place: Workplace, result: Path, *, is_wide: bool = False
) -> None:
    files = local_tables(place, work.inputs)
    with place.connection() as connection:
        rows = scanned(connection) if is_wide else group_rows(connection, list(files.values()))
        for called, path in files.items():
            view(connection, called, path)
        for called, output in work.inputs.items():
            if output.table is None:
                _value(connection, called, output)
        _close_off(connection, [*files.values(), result])
        try:
            copy_out(connection, _in_parquet(connection, text, parameters), result, parameters, rows=rows)
        except duckdb.ConversionException:
            wider = _in_parquet(connection, text, parameters, "DECIMAL(38, 0)")
            copy_out(connection, wider, result, parameters, rows=rows)


def _in_parquet(
    connection: "DuckDBPyConnection", text: str, parameters: dict[str, Any], integer: str = "BIGINT"
) -> str:
    """Sums of integers have 128 bits, which Parquet would keep as floating numbers."""
    described = connection.execute(f"DESCRIBE {text}", parameters).fetchall()
    wide = [f"CAST({name(row[0])} AS {integer}) AS {name(row[0])}" for row in described if row[1] in _WIDE]
    return f"SELECT * REPLACE ({', '.join(wide)}) FROM (\n{text}\n)" if wide else text


def _value(connection: "DuckDBPyConnection", called: str, output: StepOutput) -> None:
    """A step's value as a relation of one row: text as it is, all else as JSON."""
    is_text = isinstance(output.value, str)
    text = output.value if is_text else msgspec.json.encode(output.value).decode()
    kind = "VARCHAR" if is_text else "JSON"
    connection.execute(f"CREATE VIEW {name(called)} AS SELECT {literal(text)}::{kind} AS value")


def _close_off(connection: "DuckDBPyConnection", paths: list[Path]) -> None:
    """From here on the connection reaches these files, and nothing else: no other file, network or extension."""
    connection.execute(f"SET allowed_paths = [{', '.join(literal(path) for path in paths)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")

"""Tables as files: CSV, JSON lines, Parquet."""

from pathlib import Path
from typing import TYPE_CHECKING

from forebay.connectors.duck import finite, literal, name
from forebay.connectors.parquet import copy_out, scanned
from forebay.domain.pipeline import TableRef
from forebay.policy.steps.forms import Form

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NESTED = ("STRUCT", "MAP", "UNION", "[]")


def write_file(connection: "DuckDBPyConnection", source: Path, table: TableRef, form: Form, target: Path) -> None:
    """Writes a table. In CSV what is nested is JSON text, and null is nothing. Raises: duckdb.Error."""
    columns, options = "*", ""
    match form:
        case Form.CSV:
            columns = ", ".join(_cell(column, kind) for column, kind in table.columns.items())
            options = "FORMAT csv, HEADER true"
        case Form.JSONL:
            columns = ", ".join(f"{finite(column, kind)} AS {name(column)}" for column, kind in table.columns.items())
            options = "FORMAT json"
        case _:
            copy_out(connection, f"SELECT * FROM read_parquet({literal(source)})", target, rows=scanned(connection))
            return
    query = f"SELECT {columns} FROM read_parquet({literal(source)})"
    connection.execute(f"COPY ({query}) TO {literal(target)} ({options}, USE_TMP_FILE false)")


def _cell(column: str, kind: str) -> str:
    if any(mark in kind for mark in _NESTED):
        return f"to_json({name(column)}) AS {name(column)}"
    return name(column)

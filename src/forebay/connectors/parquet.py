"""Tables of steps: Parquet files, written in the order of their rows and kept as blobs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forebay.connectors.duck import literal, name
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import StepOutput, StepWork, TableRef
from forebay.policy.nearest import hint

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

GROUP_BYTES = 32 * 1024 * 1024  # of a row group before it is packed: so much of each is held in memory
FEWEST_ROWS, MOST_ROWS = 2048, 122_880  # of a row group; DuckDB's own bounds
SCANNED = 0  # in the place of rows: groups end by their bytes
_WIDTH = """
SELECT sum(total_uncompressed_size) / greatest(sum(num_values) FILTER (column_id = 0), 1) FROM parquet_metadata(?)"""


def view(connection: "DuckDBPyConnection", called: str, path: Path) -> None:
    """Makes a Parquet file a relation."""
    connection.execute(f"CREATE VIEW {name(called)} AS SELECT * FROM read_parquet({literal(path)})")


def group_rows(connection: "DuckDBPyConnection", paths: list[Path]) -> int:
    """How many rows a group of the output takes, if its rows are like those of the widest input."""
    widths = [connection.execute(_WIDTH, [str(path)]).fetchall()[0][0] or 0 for path in paths]
    rows = int(GROUP_BYTES / max(*widths, 1.0)) if widths else MOST_ROWS
    return min(rows, MOST_ROWS) if rows >= FEWEST_ROWS else scanned(connection)


def scanned(connection: "DuckDBPyConnection") -> int:
    """What ``copy_out`` takes as rows where any may be large. With its one thread the connection keeps the order
    of what it scans, sorts or joins, but not that of a UNION of more than two.
    """
    connection.execute("SET preserve_insertion_order = false")
    return SCANNED


def copy_out(
    connection: "DuckDBPyConnection", query: str, path: Path, parameters: Mapping[str, Any] | None = None, *, rows: int
) -> None:
    """Writes a query's rows to a file, group by group of ``rows`` (see ``group_rows`` and ``scanned``)."""
    size = f"ROW_GROUP_SIZE {rows}" if rows else f"ROW_GROUP_SIZE {MOST_ROWS}, ROW_GROUP_SIZE_BYTES {GROUP_BYTES}"
    options = f"FORMAT parquet, COMPRESSION zstd, {size}, USE_TMP_FILE false"
    connection.execute(f"COPY (\n{query}\n) TO {literal(path)} ({options})", dict(parameters or {}))


def keep_table(place: Workplace, path: Path) -> TableRef:
    """Stores a Parquet file as a table's blob; the file goes."""
    with place.connection() as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({literal(path)})").fetchall()
        ((rows,),) = connection.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [str(path)]).fetchall()
    info = place.keep(path)
    columns = {row[0]: row[1] for row in described}
    return TableRef(blob_id=info.id, bytes=info.bytes, rows=int(rows), columns=columns, digest=info.sha256)


def local_tables(place: Workplace, inputs: Mapping[str, StepOutput]) -> dict[str, Path]:
    """The inputs that are tables, as files."""
    return {called: place.local(output.table.blob_id) for called, output in inputs.items() if output.table is not None}


def one_table(work: StepWork) -> TableRef:
    """The one table that goes in. Raises: RequestError."""
    tables = [output.table for output in work.inputs.values() if output.table is not None]
    if len(tables) != 1:
        raise RequestError(f"{work.step.kind} takes the table of one step: name it as `from`", param="from")
    return tables[0]


def known_column(table: TableRef, wanted: str, option: str) -> str:
    """A column by its name, as the table writes it. Raises: RequestError: there is none."""
    for column in table.columns:
        if column.lower() == wanted.lower():
            return column
    told = hint(wanted, table.columns) or f"; there are: {', '.join(table.columns)}"
    raise RequestError(f"the records have no column {wanted!r}{told}", param=option)

"""Which function does which kind of step, and the tables that they share."""

from collections.abc import Callable
from typing import Any

from forebay.connectors.duck import decode_row, free_name, literal
from forebay.connectors.steps.chunk import run_chunk
from forebay.connectors.steps.dedupe import run_dedupe
from forebay.connectors.steps.fingerprints import fingerprint_of
from forebay.connectors.steps.index import run_index
from forebay.connectors.steps.python import run_python
from forebay.connectors.steps.read import run_read
from forebay.connectors.steps.report import run_report
from forebay.connectors.steps.sql import run_sql
from forebay.connectors.steps.write import run_write
from forebay.connectors.workplace import Workplace
from forebay.domain.pipeline import StepKind, StepOutcome, StepWork, TableRef

__all__ = ["WORKS", "fingerprint_of", "first_rows"]

Work = Callable[[StepWork, Workplace], StepOutcome]

WORKS: dict[StepKind, Work] = {
    StepKind.READ: run_read,
    StepKind.REPORT: run_report,
    StepKind.SQL: run_sql,
    StepKind.WRITE: run_write,
    StepKind.CHUNK: run_chunk,
    StepKind.DEDUPE: run_dedupe,
    StepKind.INDEX: run_index,
    StepKind.PYTHON: run_python,
}


def first_rows(place: Workplace, table: TableRef, limit: int) -> list[dict[str, Any]]:
    """The first rows, as JSON has their values."""
    row = free_name("row_", table.columns)
    source = literal(place.local(table.blob_id))
    with place.connection() as connection:
        query = f"SELECT to_json({row}) FROM (SELECT * FROM read_parquet({source}) LIMIT {int(limit)}) AS {row}"
        rows = connection.execute(query).fetchall()
    return [decode_row(text) for (text,) in rows]

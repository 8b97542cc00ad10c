"""Steps of kind ``chunk``: each record's text as several, with where each stood."""

from pathlib import Path

import duckdb
import msgspec

from forebay.connectors.duck import free_name, literal, name, refusal
from forebay.connectors.json_lines import lines_query
from forebay.connectors.parquet import copy_out, group_rows, keep_table, known_column, one_table
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import Counts, StepOutcome, StepOutput, StepWork
from forebay.policy.chunking import chunks
from forebay.policy.steps.chunk import ADDED, ChunkOptions, read_chunk

ROWS_AT_ONCE = 256
_MADE = "STRUCT(text VARCHAR, chunk BIGINT, chunk_start BIGINT, chunk_end BIGINT)[]"


def run_chunk(work: StepWork, place: Workplace) -> StepOutcome:
    """Cuts the column of every record. Raises: RequestError."""
    options, table = read_chunk(work.step.options), one_table(work)
    column = known_column(table, options.column, "column")
    if table.columns[column] != "VARCHAR":
        raise RequestError(f"the column {column!r} is {table.columns[column]}, not text", param="column")
    for added in ADDED:
        if added in {one.lower() for one in table.columns}:
            raise RequestError(f"the records have a column {added!r} already: rename it before", param="column")
    source, lines, result = place.local(table.blob_id), place.path("chunks.jsonl"), place.path("result.parquet")
    made = free_name("made_", table.columns)
    query = (
        f"SELECT * EXCLUDE ({made}) REPLACE ({made}.text AS {name(column)}),"
        f" {', '.join(f'{made}.{added} AS {added}' for added in ADDED)}"
        f" FROM (SELECT source.*, unnest(cut.made) AS {made} FROM read_parquet({literal(source)}) AS source"
        f" POSITIONAL JOIN ({lines_query([lines], {'made': _MADE})}) AS cut)"
    )
    try:
        _write(source, column, options, lines, place)
        with place.connection() as connection:
            copy_out(connection, query, result, rows=group_rows(connection, [source]))
    except duckdb.Error as exc:
        raise refusal(exc, folder=place.folder) from exc
    counts = Counts(entered=table.rows, succeeded=table.rows)
    return StepOutcome(output=StepOutput(table=keep_table(place, result)), counts=counts)


def _write(source: Path, column: str, options: ChunkOptions, lines: Path, place: Workplace) -> None:
    """A line for each record, with its chunks, in the order of the records."""
    with place.connection() as connection, lines.open("wb") as file:
        found = connection.execute(f"SELECT {name(column)} FROM read_parquet({literal(source)})")
        while rows := found.fetchmany(ROWS_AT_ONCE):
            for (text,) in rows:
                place.stopper.check()
                spans = chunks(text or "", options.by, options.size, options.overlap)
                made = [
                    {"text": text[start:end], "chunk": number, "chunk_start": start, "chunk_end": end}
                    for number, (start, end) in enumerate(spans)
                ]
                file.write(msgspec.json.encode({"made": made}) + b"\n")

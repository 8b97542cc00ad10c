"""Steps of kind ``index``: embeddings into a store that is searched, replaced as a whole."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec

from forebay.connectors.duck import literal, name, refusal
from forebay.connectors.parquet import copy_out, keep_table, known_column, one_table, scanned
from forebay.connectors.steps.write import described
from forebay.connectors.vectors.opening import open_index
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import ConfigurationError, RequestError
from forebay.domain.pipeline import SINK_FAILED, Counts, StepOutcome, StepOutput, StepWork, TableRef
from forebay.domain.vectors import VectorRow
from forebay.policy.steps.index import IndexOptions, read_index
from forebay.policy.steps.places import render_place
from forebay.policy.templates import compile_text

ROWS_AT_ONCE = 512
_ERROR = "{'code': 'no_vector', 'message': 'the record has no embedding'}"


def run_index(work: StepWork, place: Workplace) -> StepOutcome:
    """Replaces the index by the records that have an embedding; the others are rejected. Raises: RequestError."""
    options, table = read_index(work.step.options), one_table(work)
    columns = _columns(options, table)
    shown = None if options.path is None else render_place(options.path, work.scope)
    where = shown if shown is not None else compile_text(options.url or "").render_text(work.scope)
    try:
        index = open_index(where, table=options.table, folder=Path(work.folder))
    except ConfigurationError as exc:
        raise RequestError(str(exc), param="path", code=SINK_FAILED) from exc

    async def replace() -> int:
        try:
            return (await index.replace(_rows(columns, table, place), model=options.model)).rows
        finally:
            await index.close()

    if shown is not None:
        (Path(work.folder) / shown).parent.mkdir(parents=True, exist_ok=True)
    written = place.wait(replace())
    rejected = _rejected(columns, table, place) if written < table.rows else None
    files = () if shown is None else (described(Path(work.folder) / shown, shown),)
    counts = Counts(entered=table.rows, succeeded=written, failed=table.rows - written)
    return StepOutcome(output=StepOutput(rejected=rejected, files=files), counts=counts)


def _columns(options: IndexOptions, table: TableRef) -> IndexOptions:
    """The options with the columns as the table writes them. Raises: RequestError: there is none of such a name."""
    text = options.text
    if text == "text" and "text" not in {column.lower() for column in table.columns}:
        text = None
    return msgspec.structs.replace(
        options,
        id=known_column(table, options.id, "id"),
        text=None if text is None else known_column(table, text, "text"),
        vector=known_column(table, options.vector, "vector"),
        metadata=tuple(known_column(table, one, "metadata") for one in options.metadata),
    )


def _rows(columns: IndexOptions, table: TableRef, place: Workplace) -> Iterator[VectorRow]:
    text = "NULL" if columns.text is None else f"{name(columns.text)}::VARCHAR"
    members = ", ".join(f"{literal(one)}: {name(one)}" for one in columns.metadata)
    metadata = f"to_json({{{members}}})" if members else "'{}'"
    query = (
        f"SELECT {name(columns.id)}::VARCHAR, to_json({name(columns.vector)})::VARCHAR, {text}, {metadata}::VARCHAR"
        f" FROM read_parquet({literal(place.local(table.blob_id))}) WHERE {_has_vector(columns)}"
    )
    try:
        with place.connection() as connection:
            found = connection.execute(query)
            while rows := found.fetchmany(ROWS_AT_ONCE):
                for key, vector, content, told in rows:
                    if key is None:
                        raise RequestError(f"a record has no {columns.id!r}", code=SINK_FAILED)
                    yield VectorRow(id=key, vector=vector, text=content, metadata=msgspec.json.decode(told))
    except duckdb.Error as exc:
        raise refusal(exc, folder=place.folder) from exc


def _has_vector(columns: IndexOptions) -> str:
    return f"{name(columns.vector)} IS NOT NULL"


def _rejected(columns: IndexOptions, table: TableRef, place: Workplace) -> TableRef:
    result = place.path("rejected.parquet")
    own = ", ".join(name(column) for column in table.columns if column.lower() != "error")
    source = literal(place.local(table.blob_id))
    with place.connection() as connection:
        query = f"SELECT {own}, {_ERROR} AS error FROM read_parquet({source}) WHERE NOT ({_has_vector(columns)})"
        copy_out(connection, query, result, rows=scanned(connection))
    return keep_table(place, result)

"""Steps of kind ``read``: files as one table, in the order of their names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from forebay.connectors.duck import literal, refusal
from forebay.connectors.json_lines import fitting, lines_query, listed
from forebay.connectors.parquet import copy_out, keep_table, scanned
from forebay.connectors.sources.csv import (
    check_types,
    csv_queries,
    csv_rejects,
    is_about_newlines,
    with_one_newline,
)
from forebay.connectors.sources.databases import read_database
from forebay.connectors.sources.documents import COLUMNS, REFERENCE, write_documents
from forebay.connectors.sources.found import Found
from forebay.connectors.sources.jsonl import is_beyond_following, jsonl_query, jsonl_rejects, jsonl_structure
from forebay.connectors.sources.opening import open_sources
from forebay.connectors.sources.rejects import Reject, keep_rejects
from forebay.connectors.sources.texts import write_lines
from forebay.connectors.workplace import Workplace
from forebay.domain.content import Segment
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import CONTENT, SOURCE_FAILED, Counts, StepOutcome, StepOutput, StepWork
from forebay.policy.steps.forms import Form, form_of
from forebay.policy.steps.read import DatabaseQuery, ReadOptions, read_read

_MEMBERS = ", ".join(f"{name} := file.{name}" for name in ("start", "bytes", "content_type", "filename"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What is told of files that were read, beside the rows themselves."""

    rejects: Sequence[Reject] = ()
    contents: tuple[Segment, ...] = ()


Reader = Callable[[list[Found], ReadOptions, Workplace, Path], Read]


def run_read(work: StepWork, place: Workplace) -> StepOutcome:
    """Reads what the step names. Raises: RequestError (`source_failed`)."""
    options = read_read(work.step.options)
    result = place.path("result.parquet")
    if options.sql is not None:
        return _asked(options.sql, work, place, result)
    files = open_sources(work, options, place)
    try:
        read = _READERS[_form(files, options)](files, options, place, result)
    except duckdb.Error as exc:
        raise _refused(exc, files, place) from exc
    for found in files:
        found.check()
    table, rejected = keep_table(place, result), keep_rejects(read.rejects, place)
    failed = rejected.rows if rejected else 0
    counts = Counts(entered=table.rows + failed, succeeded=table.rows, failed=failed)
    sources = tuple(found.file for found in files)
    return StepOutcome(
        output=StepOutput(table=table, rejected=rejected, sources=sources, contents=read.contents), counts=counts
    )


def _asked(query: DatabaseQuery, work: StepWork, place: Workplace, result: Path) -> StepOutcome:
    try:
        read_database(query, work, place, result)
    except duckdb.Error as exc:
        raise refusal(exc, code=SOURCE_FAILED, folder=place.folder) from exc
    table = keep_table(place, result)
    return StepOutcome(output=StepOutput(table=table), counts=Counts(entered=table.rows, succeeded=table.rows))


def _text(files: list[Found], _options: ReadOptions, place: Workplace, result: Path) -> Read:
    lines = place.path("lines.jsonl")
    rejects = write_lines(files, lines, place)
    with place.connection() as connection:
        copy_out(connection, lines_query([lines], {"text": "VARCHAR"}), result, rows=scanned(connection))
    return Read(rejects=rejects)


def _files(files: list[Found], options: ReadOptions, place: Workplace, result: Path) -> Read:
    rows, pack = place.path("files.jsonl"), place.path("pack")
    packed = write_documents(files, rows, pack, options.encoding, place)
    content = None
    if packed.files:
        info = place.keep(pack)
        content = Segment(name=CONTENT, blob_id=info.id, lines=packed.files, bytes=info.bytes)
    query = lines_query([rows], {**COLUMNS, "file": REFERENCE})
    blob = literal(content.blob_id) if content else "NULL"
    reference = f"CASE WHEN file IS NOT NULL THEN struct_insert({{'blob_id': {blob}::VARCHAR}}, {_MEMBERS}) END"
    with place.connection() as connection:
        copy_out(connection, f"SELECT * REPLACE ({reference} AS file) FROM ({query})", result, rows=scanned(connection))
    return Read(rejects=packed.rejects, contents=() if content is None else (content,))


def _csv(files: list[Found], options: ReadOptions, place: Workplace, result: Path) -> Read:
    with place.connection() as connection:
        check_types(connection, options)
    try:
        return _rows_of_csv(files, options, place, result)
    except duckdb.Error as exc:
        if not is_about_newlines(exc):
            raise
    return _rows_of_csv([with_one_newline(found, place) for found in files], options, place, result)


def _rows_of_csv(files: list[Found], options: ReadOptions, place: Workplace, result: Path) -> Read:
    with place.connection() as connection:
        rows, queries = scanned(connection), csv_queries(files, options)
        parts = [result] if len(queries) == 1 else [place.path("part.parquet") for _ in queries]
        for query, part in zip(queries, parts, strict=True):
            copy_out(connection, query, part, rows=rows)
        if len(parts) > 1:
            whole = f"SELECT * FROM read_parquet({listed(parts)}, union_by_name = true)"
            copy_out(connection, whole, result, rows=rows)
        return Read(rejects=list(csv_rejects(connection, files)))


def _jsonl(files: list[Found], _options: ReadOptions, place: Workplace, result: Path) -> Read:
    try:
        return _rows_of_jsonl(files, place, result, is_careful=False)
    except duckdb.Error as exc:
        if not is_beyond_following(exc):
            raise
    return _rows_of_jsonl(files, place, result, is_careful=True)


def _rows_of_jsonl(files: list[Found], place: Workplace, result: Path, *, is_careful: bool) -> Read:
    with place.connection() as connection:
        kept, rejects = jsonl_rejects(connection, files, place, is_careful=is_careful)
        structure, rows = jsonl_structure(connection, kept), scanned(connection)
        fitting(lambda integer: copy_out(connection, jsonl_query(structure, kept, integer), result, rows=rows))
        return Read(rejects=rejects)


def _parquet(files: list[Found], _options: ReadOptions, place: Workplace, result: Path) -> Read:
    paths = [found.path for found in files]
    with place.connection() as connection:
        query = f"SELECT * FROM read_parquet({listed(paths)}, union_by_name = true)"
        copy_out(connection, query, result, rows=scanned(connection))
    return Read()


_READERS: dict[Form, Reader] = {
    Form.CSV: _csv,
    Form.JSONL: _jsonl,
    Form.PARQUET: _parquet,
    Form.TEXT: _text,
    Form.FILES: _files,
}


def _form(files: list[Found], options: ReadOptions) -> Form:
    forms = {options.form or (Form.FILES if found.root else form_of(found.shown)) for found in files}
    form = forms.pop()
    if form is None or forms:
        told = f"{files[0].shown!r} and the others are of several forms" if forms else f"{files[0].shown!r}"
        raise RequestError(f"{told}: say `format: csv`, jsonl, parquet, text or files", code=SOURCE_FAILED)
    return form


def _refused(error: duckdb.Error, files: list[Found], place: Workplace) -> RequestError:
    """Files by their own names."""
    text = str(error)
    for found in files:
        text = text.replace(str(found.path), found.shown)
    return refusal(type(error)(text), code=SOURCE_FAILED, folder=place.folder)

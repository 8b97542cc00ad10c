"""CSV files as one table. A malformed row is rejected with its line and the reason, and the rest is read."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from forebay.connectors.digests import PIECE_BYTES
from forebay.connectors.duck import literal, name, refusal
from forebay.connectors.sources.found import Found, unreadable
from forebay.connectors.sources.rejects import Reject
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import SOURCE_FAILED
from forebay.policy.csv_dialect import delimiter_of, header_fields, named_columns
from forebay.policy.steps.read import ReadOptions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LONGEST_ROW_BYTES = 16 * 1024 * 1024
BUFFER_BYTES = 2 * LONGEST_ROW_BYTES  # DuckDB's own choice would be 16 rows
HEADER_BYTES = 1024 * 1024
TEXT = "VARCHAR"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """How a file is cut into fields."""

    columns: tuple[str, ...]
    delimiter: str


def csv_queries(files: list[Found], options: ReadOptions) -> list[str]:
    """The queries of all rows, one after the other: of files in a row that have the same columns.

    Raises: RequestError: a header can't be read.
    """
    shaped = [(_shape(found, options), found) for found in files]
    queries = []
    for shape, group in groupby(shaped, key=lambda pair: pair[0]):
        paths = [found.path for _, found in group]
        queries.append(f"SELECT * FROM {_reader(shape, paths, options)}")
    unknown = sorted(set(options.columns) - {column for shape, _ in shaped for column in shape.columns})
    if unknown:
        known = ", ".join(shaped[0][0].columns) if shaped else "none"
        raise RequestError(f"`columns` names {unknown[0]!r}; there are: {known}", code=SOURCE_FAILED)
    return queries


def csv_rejects(connection: "DuckDBPyConnection", files: list[Found]) -> Iterator[Reject]:
    """The rows that the query left out, by file and line, after it was run."""
    places = {str(found.path): found for found in files}
    rows = connection.execute(
        "SELECT file_path, line_byte_position, min(error_message), any_value(csv_line) FROM reject_errors"
        " JOIN reject_scans USING (scan_id, file_id) GROUP BY ALL"
    ).fetchall()
    order = {path: number for number, path in enumerate(places)}
    rows.sort(key=lambda row: (order[row[0]], row[1] or 0))
    for path, group in groupby(rows, key=lambda row: row[0]):
        yield from _with_lines(places[path], [(row[1] or 0, row[2], row[3]) for row in group])


def _with_lines(found: Found, rows: list[tuple[int, str, str]]) -> Iterator[Reject]:
    """Positions in the file become lines of it: DuckDB counts rows, of which one may have many lines."""
    line, position = 1, 0
    with found.path.open("rb") as file:
        for start, message, text in rows:
            while position < start:
                piece = file.read(min(PIECE_BYTES, start - position))
                if not piece:
                    break
                line += piece.count(b"\n")
                position += len(piece)
            yield Reject(path=found.shown, line=line, text=text, message=message)


def _shape(found: Found, options: ReadOptions) -> _Shape:
    lines = _first_lines(found.path, found.shown, options.encoding)
    delimiter = options.delimiter or ("\t" if found.shown.lower().endswith(".tsv") else delimiter_of(lines[0]))
    try:
        fields = header_fields(lines, delimiter, options.quote)
        columns = named_columns(fields if options.has_header else [""] * len(fields))
    except RequestError as exc:
        raise RequestError(f"{found.shown!r}: {exc.message}", code=SOURCE_FAILED) from exc
    if not columns:
        raise RequestError(f"{found.shown!r} is empty: a CSV file has a header", code=SOURCE_FAILED)
    return _Shape(columns=columns, delimiter=delimiter)


def _first_lines(path: Path, shown: str, encoding: str) -> list[str]:
    try:
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
        text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(start)
    except OSError as exc:
        raise unreadable(shown, exc) from exc
    except LookupError as exc:
        raise RequestError(f"there is no encoding {encoding!r}", param="encoding") from exc
    return text.removeprefix("\ufeff").splitlines(keepends=True) or [""]


def _reader(shape: _Shape, paths: list[Path], options: ReadOptions) -> str:
    types = {column: options.columns.get(column, TEXT) for column in shape.columns}
    whole = [column for column in shape.columns if types[column] == TEXT]
    arguments = {
        "auto_detect": "false",
        "delim": literal(shape.delimiter),
        "quote": literal(options.quote),
        "escape": literal(options.quote),
        "header": str(options.has_header).lower(),
        "encoding": literal(options.encoding),
        "columns": "{" + ", ".join(f"{literal(column)}: {literal(kind)}" for column, kind in types.items()) + "}",
        "force_not_null": "[" + ", ".join(literal(column) for column in whole) + "]",
        "max_line_size": str(LONGEST_ROW_BYTES),
        "buffer_size": str(BUFFER_BYTES),
        "store_rejects": "true",
    }
    listed = ", ".join(literal(path) for path in paths)
    return f"read_csv([{listed}], {', '.join(f'{key} = {value}' for key, value in arguments.items())})"


def with_one_newline(found: Found, place: Workplace) -> Found:
    """A copy in which every line ends alike: DuckDB reads no file that mixes them."""
    path = place.path("lines.csv")
    with found.path.open("rb") as source, path.open("wb") as target:
        for line in source:
            place.stopper.check()
            target.write(line[:-2] + b"\n" if line.endswith(b"\r\n") else line)
    return replace(found, path=path)


def is_about_newlines(error: duckdb.Error) -> bool:
    """Whether it says that a file mixes the ends of lines."""
    return isinstance(error, duckdb.InvalidInputException) and "invalid state" in str(error)


def check_types(connection: "DuckDBPyConnection", options: ReadOptions) -> None:
    """Raises: RequestError: a declared type is none of DuckDB's."""
    for column, kind in options.columns.items():
        try:
            connection.execute(f"SELECT CAST(NULL AS {kind}) AS {name(column)}")
        except duckdb.Error as exc:
            raise refusal(exc, code="invalid_value") from exc

"""Rows of a SQLite file, opened read-only. Types follow the values: SQLite's columns have none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
import msgspec

from forebay.connectors.json_lines import lines_query, structure_of, types_of
from forebay.connectors.parquet import copy_out, scanned
from forebay.connectors.workplace import Workplace
from forebay.domain.errors import RequestError, TargetUnavailable
from forebay.domain.pipeline import SOURCE_FAILED
from forebay.policy.sql_text import Statement

BUSY_MILLISECONDS = 5000
ROWS_AT_ONCE = 1000
PASSING = (apsw.BusyError, apsw.LockedError, apsw.IOError, apsw.NoMemError, apsw.ProtocolError)


def read_sqlite(path: Path, statement: Statement, values: dict[str, Any], place: Workplace, result: Path) -> None:
    """Raises: RequestError, TargetUnavailable."""
    lines = place.path("rows.jsonl")
    if not path.is_file():
        raise RequestError(f"{path.name!r} does not exist", code=SOURCE_FAILED)
    try:
        with lines.open("wb") as file:
            columns = _write(path, statement, values, place, file)
    except PASSING as exc:
        raise TargetUnavailable(f"{path.name!r} can't be read now: {exc}") from exc
    except (apsw.Error, TypeError) as exc:
        place.stopper.check()
        raise RequestError(f"{path.name!r}: {exc}", code=SOURCE_FAILED) from exc
    with place.connection() as connection:
        types = types_of(structure_of(connection, [lines]), columns)
        copy_out(connection, lines_query([lines], types), result, rows=scanned(connection))


def _write(path: Path, statement: Statement, values: dict[str, Any], place: Workplace, file: Any) -> list[str]:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{quote(str(path))}?mode=ro", flags=flags)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
    columns: list[str] = []

    def begun(cursor: apsw.Cursor, _text: str, _values: object) -> bool:
        """Before the first row: afterwards an answer without rows has no columns any more."""
        columns.extend(column[0] for column in cursor.get_description())
        return True

    try:
        with place.stopper.breaking(connection.interrupt):
            cursor = connection.cursor()
            cursor.exec_trace = begun
            found = cursor.execute(statement.text, values or None)
            check_columns(columns)
            for line in _lines(found, columns):
                place.stopper.check()
                file.write(line)
    finally:
        connection.close()
    return columns


def _lines(rows: apsw.Cursor, columns: list[str]) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    buffer = bytearray()
    for count, row in enumerate(rows, start=1):
        buffer += encoder.encode(dict(zip(columns, row, strict=True))) + b"\n"
        if count % ROWS_AT_ONCE == 0:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)


def check_columns(columns: list[str]) -> None:
    """Raises: RequestError: there is none, or two of one name."""
    if not columns:
        raise RequestError("the query must be a SELECT", param="query")
    lower = [column.lower() for column in columns]
    for place, column in enumerate(lower):
        if column in lower[:place]:
            raise RequestError(f"two columns are called {columns[place]!r}: name one otherwise (AS)", param="query")

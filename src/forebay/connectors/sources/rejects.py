"""Rejected pieces of files: a table of where each stood, what it was, and why it is no record."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from forebay.connectors.duck import literal
from forebay.connectors.parquet import copy_out, keep_table, scanned
from forebay.connectors.workplace import Workplace
from forebay.domain.pipeline import TableRef

MALFORMED = "malformed_record"
LONGEST_TEXT = 10_000  # characters of a malformed line
_COLUMNS = "{'path': 'VARCHAR', 'line': 'BIGINT', 'text': 'VARCHAR', 'error': 'STRUCT(code VARCHAR, message VARCHAR)'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """``line`` counts from 1."""

    path: str
    line: int
    text: str
    message: str


def keep_rejects(rejects: Iterable[Reject], place: Workplace) -> TableRef | None:
    """Keeps them as a table {path, line, text, error}; None if there is none."""
    lines, count = place.path("rejects.jsonl"), 0
    with lines.open("wb") as file:
        for one in rejects:
            count += 1
            error = {"code": MALFORMED, "message": f"line {one.line}: {one.message}"}
            row = {"path": one.path, "line": one.line, "text": (one.text or "")[:LONGEST_TEXT], "error": error}
            file.write(msgspec.json.encode(row) + b"\n")
    if not count:
        return None
    result = place.path("rejects.parquet")
    query = f"SELECT * FROM read_json({literal(lines)}, format = 'newline_delimited', columns = {_COLUMNS})"
    with place.connection() as connection:
        copy_out(connection, query, result, rows=scanned(connection))
    return keep_table(place, result)

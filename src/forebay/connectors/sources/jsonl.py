"""JSON lines as one table. A line that is no JSON object is rejected with its number, and the rest is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from forebay.connectors.json_lines import Structure, lines_query, listed, structure_of, types_of
from forebay.connectors.sources.found import Found
from forebay.connectors.sources.rejects import Reject
from forebay.connectors.workplace import Workplace
from forebay.policy.json_text import is_too_deep, why_not_json

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DEEPEST = 100  # DuckDB follows 128
LONGEST_BYTES = 16 * 1024 * 1024  # of a line: DuckDB holds several of them for each thread
_NOTHING = "nothing"  # the column of records without a member
_MARK = b"\xef\xbb\xbf"
_NO_OBJECT = """
SELECT number FROM (
  SELECT row_number() OVER () AS number, json FROM read_ndjson_objects({files}, ignore_errors = true,
    maximum_object_size = {longest}))
WHERE json IS NULL OR json_type(json) <> 'OBJECT'"""


def jsonl_rejects(
    connection: "DuckDBPyConnection", files: list[Found], place: Workplace, *, is_careful: bool
) -> tuple[list[Found], list[Reject]]:
    """The files without their bad lines (copies where there were any), and the bad lines; ``is_careful``: some are
    deeper or longer than DuckDB follows, so that each is looked at here. Raises: duckdb.Error.
    """
    kept: list[Found] = []
    rejects: list[Reject] = []
    for found in files:
        bad = None if is_careful else _bad_lines(connection, found)
        if bad is None or bad:
            copy = place.path("lines.jsonl")
            rejects += _separate(found, bad, copy)
            kept.append(Found(shown=found.shown, path=copy, file=found.file, origin=found.origin, stat=found.stat))
        else:
            kept.append(found)
    return kept, rejects


def is_beyond_following(error: Exception) -> bool:
    """Whether DuckDB has met a line that it does not follow to its end."""
    return "recursion depth" in str(error) or "maximum_object_size" in str(error)


def _bad_lines(connection: "DuckDBPyConnection", found: Found) -> set[int]:
    query = _NO_OBJECT.format(files=listed([found.path]), longest=LONGEST_BYTES)
    return {number for (number,) in connection.execute(query).fetchall()}


def jsonl_structure(connection: "DuckDBPyConnection", files: list[Found]) -> Structure:
    """The members of all records. Raises: duckdb.Error."""
    found = structure_of(connection, [one.path for one in files], longest=LONGEST_BYTES)
    return found or {_NOTHING: "NULL"}  # records without a member are records


def jsonl_query(structure: Structure, files: list[Found], integer: str) -> str:
    """The query of all rows."""
    paths = [found.path for found in files]
    return lines_query(paths, types_of(structure, structure, integer), longest=LONGEST_BYTES)


def _separate(found: Found, bad: set[int] | None, copy: Path) -> Iterator[Reject]:
    """Copies the good lines; ``bad`` counts the lines that are not blank, from 1; None: any may be."""
    number = 0
    with found.path.open("rb") as source, copy.open("wb") as good:
        for line, text in enumerate(source, start=1):
            stripped = text.strip()
            if not stripped:
                continue
            number += 1
            marked = stripped.removeprefix(_MARK)
            why = _why(marked) if bad is None or number in bad else None
            if why is None:
                good.write(marked + b"\n")
            else:
                yield Reject(path=found.shown, line=line, text=marked.decode(errors="replace"), message=why)


def _why(text: bytes) -> str | None:
    """Why a line is no object; None: it is one, and what was bad is the mark of UTF-8 before it."""
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        return f"no JSON object: {why_not_json(text, exc)}"
    if len(text) > LONGEST_BYTES:
        return f"longer than {LONGEST_BYTES} bytes"
    return f"nested deeper than {DEEPEST}" if is_too_deep(text, DEEPEST) else None

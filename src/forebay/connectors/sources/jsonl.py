"""JSON lines as one table. A line that is no JSON object is rejected with its number, and the rest is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from forebay.connectors.json_lines import LONGEST_LINE_BYTES, lines_query, listed, structure_of, types_of
from forebay.connectors.sources.found import Found
from forebay.connectors.sources.rejects import Reject
from forebay.connectors.workplace import Workplace
from forebay.policy.json_text import is_too_deep, why_not_json

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DEEPEST = 100  # DuckDB follows 128
_NOTHING = "nothing"  # the column of records without a member
_MARK = b"\xef\xbb\xbf"
_NO_OBJECT = """
SELECT number FROM (
  SELECT row_number() OVER () AS number, json FROM read_ndjson_objects({files}, ignore_errors = true,
    maximum_object_size = {longest}))
WHERE json IS NULL OR json_type(json) <> 'OBJECT'"""


def jsonl_rejects(
    connection: "DuckDBPyConnection", files: list[Found], place: Workplace, *, is_deep: bool
) -> tuple[list[Found], list[Reject]]:
    """The files without their bad lines (copies where there were any), and the bad lines; ``is_deep``: some are nested
    deeper than DuckDB follows. Raises: duckdb.Error.
    """
    kept: list[Found] = []
    rejects: list[Reject] = []
    for found in files:
        query = _NO_OBJECT.format(files=listed([found.path]), longest=LONGEST_LINE_BYTES)
        bad = {number for (number,) in connection.execute(query).fetchall()}
        if bad or is_deep:
            copy = place.path("lines.jsonl")
            rejects += _separate(found, bad, copy)
            kept.append(Found(shown=found.shown, path=copy, file=found.file, origin=found.origin, stat=found.stat))
        else:
            kept.append(found)
    return kept, rejects


def jsonl_query(connection: "DuckDBPyConnection", files: list[Found], integer: str) -> str:
    """The query of all rows. Raises: duckdb.Error."""
    paths = [found.path for found in files]
    structure = structure_of(connection, paths)
    if not structure:
        structure = {_NOTHING: "NULL"}  # records without a member are records
    return lines_query(paths, types_of(structure, structure, integer))


def _separate(found: Found, bad: set[int], copy: Path) -> Iterator[Reject]:
    """Copies the good lines; ``bad`` counts the lines that are not blank, from 1."""
    number = 0
    with found.path.open("rb") as source, copy.open("wb") as good:
        for line, text in enumerate(source, start=1):
            stripped = text.strip()
            if not stripped:
                continue
            number += 1
            marked = stripped.removeprefix(_MARK)
            why = _why(marked) if number in bad else None
            if why is None and is_too_deep(marked, DEEPEST):
                why = f"nested deeper than {DEEPEST}"
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
    return None

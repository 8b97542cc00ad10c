"""What all work with DuckDB shares: names and texts in its SQL, and what its errors mean."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from forebay.connectors.drivers import connector
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import STEP_FAILED

REASON_CHARACTERS = 500
QUIET = "SET enable_progress_bar = false"  # it would stand in the standard output, terminal or not
_FLOATS = ("FLOAT", "DOUBLE")


def name(text: str) -> str:
    """The text as a name in SQL."""
    return '"' + text.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """The text as a value in SQL, where no parameter may stand."""
    return "'" + str(text).replace("'", "''") + "'"


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """A name that is not taken; DuckDB compares names without regard to case."""
    names = {one.lower() for one in taken}
    while wanted.lower() in names:
        wanted += "_"
    return wanted


def decode_row(text: str) -> Any:
    """A value that DuckDB has written as JSON. Its numbers that are none (NaN, Infinity) become null."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json.loads(text, parse_constant=lambda _: None)


def finite(column: str, kind: str) -> str:
    """A column without numbers that JSON does not have."""
    if kind in _FLOATS:
        return f"CASE WHEN isfinite({name(column)}) THEN {name(column)} END"
    if kind.endswith("]") and kind.partition("[")[0] in _FLOATS and kind.count("[") == 1:
        return f"list_transform({name(column)}, lambda x: CASE WHEN isfinite(x) THEN x END)"
    return name(column)


def refusal(error: Exception, *, code: str = STEP_FAILED, folder: Path | None = None) -> RequestError:
    """What an error of DuckDB is to whoever wrote the step. The folder's paths are nobody's business."""
    duckdb = connector("duckdb library")
    text = str(error)
    if folder is not None:
        text = text.replace(str(folder), "…")
    first = " ".join(text.partition("\n\n")[0].split())[:REASON_CHARACTERS]
    if isinstance(error, duckdb.OutOfMemoryException):
        first += "; a smaller window, group or join needs less"
    return RequestError(first, code=code)

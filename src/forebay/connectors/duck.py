"""What all work with DuckDB shares: names and texts in its SQL, and what its errors mean."""

from collections.abc import Iterable
from pathlib import Path

from forebay.connectors.drivers import connector
from forebay.domain.errors import RequestError
from forebay.domain.pipeline import STEP_FAILED

REASON_CHARACTERS = 500


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

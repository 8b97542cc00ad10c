"""The forms of files that steps read and write, told from their names."""

from enum import StrEnum

_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
}


class Form(StrEnum):
    """``text``: a record for each line; ``files``: a record for each file."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    TEXT = "text"
    FILES = "files"


def form_of(path: str) -> Form | None:
    """The form that a name's ending tells; None: none that we know."""
    name = path.rstrip("/").rpartition("/")[2].lower()
    return next((Form(form) for ending, form in _ENDINGS.items() if name.endswith(ending)), None)

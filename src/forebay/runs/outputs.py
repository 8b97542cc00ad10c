"""What `forebay run` writes: rows in the order of the input, whole at the end by rename, as JSONL, CSV or Parquet."""

import csv
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from forebay.connectors.drafts import replacing
from forebay.connectors.duck import QUIET
from forebay.connectors.json_lines import fitting, lines_query, structure_of, types_of
from forebay.domain.errors import ConfigurationError
from forebay.runs.drivers import driver
from forebay.runs.rows import Members, cell, encode

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FORMS = (".jsonl", ".csv", ".parquet")
LARGEST_OBJECT_BYTES = 2**31 - 1

Writer = Callable[[Path, Iterable[Members], tuple[str, ...]], None]


def check_form(path: Path) -> None:
    """Raises: ConfigurationError: the output's form, or its folder, can't be written."""
    if str(path).startswith("s3:/"):
        raise ConfigurationError(f"{str(path)!r}: this version writes no s3:// output; name a file on this machine")
    if path.suffix.lower() not in FORMS:
        raise ConfigurationError(f"{str(path)!r}: an output is .jsonl, .csv or .parquet")
    if path.is_dir():
        raise ConfigurationError(f"{str(path)!r} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ConfigurationError(f"The folder {str(path.parent)!r} of the output does not exist")


def write_output(path: Path, rows: Iterable[Members], columns: tuple[str, ...]) -> None:
    """Writes all rows and puts the file in its place at once. ``columns`` are the names that rows have, in order."""
    writer: Writer = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}[path.suffix.lower()]
    with replacing(path) as draft:
        writer(draft, rows, columns)


def write_lines(path: Path, lines: Iterable[bytes]) -> int:
    """Writes JSON lines and puts the file in its place at once; without a line there is no file. Returns how many."""
    count = 0
    with replacing(path) as draft, draft.open("wb") as stream:
        for line in lines:
            stream.write(line + b"\n")
            count += 1
    if not count:
        path.unlink()
    return count


def _write_jsonl(draft: Path, rows: Iterable[Members], _columns: tuple[str, ...]) -> None:
    with draft.open("wb") as stream:
        for row in rows:
            stream.write(encode(row) + b"\n")


def _write_csv(draft: Path, rows: Iterable[Members], columns: tuple[str, ...]) -> None:
    with draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([cell(row.get(name)) for name in columns] for row in rows)


def _write_parquet(draft: Path, rows: Iterable[Members], columns: tuple[str, ...]) -> None:
    """Types follow the values: see connectors/json_lines.py."""
    with tempfile.TemporaryDirectory(prefix=f"{draft.name}.", dir=draft.parent) as folder:
        lines = Path(folder) / "rows.jsonl"
        _write_jsonl(lines, rows, columns)
        with driver("duckdb").connect(config={"temp_directory": folder}) as connection:
            connection.execute(QUIET)
            structure = structure_of(connection, [lines], longest=LARGEST_OBJECT_BYTES)
            fitting(lambda integer: _copy(connection, lines, draft, types_of(structure, columns, integer)))


def _copy(connection: "DuckDBPyConnection", lines: Path, draft: Path, types: dict[str, str]) -> None:
    connection.sql(lines_query([lines], types, longest=LARGEST_OBJECT_BYTES)).write_parquet(str(draft))

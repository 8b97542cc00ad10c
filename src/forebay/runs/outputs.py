"""What `forebay run` writes: rows in the order of the input, whole at the end by rename, as JSONL, CSV or Parquet."""

import csv
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from forebay.domain.errors import ConfigurationError
from forebay.processes import exists
from forebay.runs.drivers import driver
from forebay.runs.rows import Members, cell, encode

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DRAFT = ".draft"
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a draft beside the path; when the block ends well it is synced and renamed to the path."""
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    _remove_left_behind(path)
    try:
        yield draft
        _sync(draft)
        draft.replace(path)
        _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _remove_left_behind(path: Path) -> None:
    """Removes what processes left beside the path that were killed as they wrote it."""
    prefix = f".{path.name}."
    for one in path.parent.glob(f"{glob.escape(prefix)}*{DRAFT}*"):
        pid = one.name.removeprefix(prefix).partition(DRAFT)[0]
        if not pid.isdigit() or exists(int(pid)):
            continue
        if one.is_dir():
            shutil.rmtree(one, ignore_errors=True)
        else:
            one.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    """Types follow the values: text stays text (no dates are guessed), objects are structs, mixed columns JSON text."""
    with tempfile.TemporaryDirectory(prefix=f"{draft.name}.", dir=draft.parent) as folder:
        lines = Path(folder) / "rows.jsonl"
        _write_jsonl(lines, rows, columns)
        with driver("duckdb").connect(config={"temp_directory": folder}) as connection:
            structure = _structure(connection, lines)
            try:
                _copy(connection, lines, draft, _types(structure, columns, "BIGINT"))
            except driver("duckdb").InvalidInputException:  # a number beyond 64 bits with a sign
                _copy(connection, lines, draft, _types(structure, columns, "UBIGINT"))


def _copy(connection: "DuckDBPyConnection", lines: Path, draft: Path, types: dict[str, str]) -> None:
    table = connection.read_json(
        str(lines), format="newline_delimited", columns=types, maximum_object_size=LARGEST_OBJECT_BYTES
    )
    table.write_parquet(str(draft))


def _structure(connection: "DuckDBPyConnection", lines: Path) -> dict[str, object]:
    query = "SELECT json_group_structure(json) FROM read_ndjson_objects(?, maximum_object_size = ?)"
    ((structure,),) = connection.execute(query, [str(lines), LARGEST_OBJECT_BYTES]).fetchall()
    return msgspec.json.decode(structure, type=dict[str, object]) if structure else {}


def _types(structure: dict[str, object], columns: tuple[str, ...], integer: str) -> dict[str, str]:
    return {column: _type(structure.get(column, "NULL"), integer) for column in columns}


def _type(shape: object, integer: str) -> str:
    """DuckDB's structure of values as a type; text where it knows none."""
    match shape:
        case dict():
            members = ", ".join(f"{_name(name)} {_type(inner, integer)}" for name, inner in shape.items())
            return f"STRUCT({members})" if members else "JSON"
        case [inner]:
            return f"{_type(inner, integer)}[]"
        case "NULL":
            return "VARCHAR"
        case "UBIGINT":
            return integer
        case _:
            return str(shape)


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'

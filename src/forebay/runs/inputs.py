"""What `forebay run` reads: each form of input as a stream of records, one JSON object each, in flat memory."""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import msgspec

from forebay.connectors.duck import QUIET, free_name
from forebay.domain.errors import ConfigurationError
from forebay.policy.csv_dialect import LONGEST_FIELD, delimiter_of
from forebay.policy.json_text import DEEPEST, is_too_deep, why_not_json
from forebay.runs.drivers import driver

STDIN = "-"
ROWS_AT_ONCE = 1000
NEW_LINE = "\n"

Records = Iterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An opened input. ``columns`` are those of its header, None where each record has its own.

    ``records`` reads it once, each a JSON object's text. Raises: ConfigurationError: what is wrong, and where.
    """

    name: str
    columns: tuple[str, ...] | None
    records: Callable[[], Records]
    path: Path | None = None  # of a file


def open_input(name: str, stdin: TextIO | None = None, *, output: str | None = None) -> Input:
    """Opens an input by its form: `.jsonl .csv .parquet .txt`, a folder (without the run's own ``output`` in it), or
    `-` for JSONL on stdin.

    Raises: ConfigurationError: no such file, or a form that is not read.
    """
    if name == STDIN:
        stream = (stdin or sys.stdin).buffer
        return Input(name=STDIN, columns=None, records=lambda: _json_lines(stream, "stdin"))
    if name.startswith("s3://"):
        raise ConfigurationError(f"{name!r}: this version reads no s3:// input; copy the file to this machine first")
    path = Path(name)
    if path.is_dir():
        return Input(name=name, columns=None, records=lambda: _files(path, output))
    if not path.exists():
        raise ConfigurationError(f"{name!r} does not exist")
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            return Input(name=name, columns=None, records=lambda: _opened_lines(path), path=path)
        case ".txt":
            return Input(name=name, columns=("text",), records=lambda: _texts(path), path=path)
        case ".csv" | ".tsv":
            return Input(name=name, columns=tuple(_header(path)), records=lambda: _rows(path), path=path)
        case ".parquet":
            return Input(name=name, columns=_parquet_columns(path), records=lambda: _parquet(path), path=path)
        case _:
            message = f"{name!r}: an input is .jsonl, .csv, .parquet, .txt, a folder, or - for JSONL on stdin"
            raise ConfigurationError(message)


def given(rows: Iterable[dict[str, Any]], name: str = "records", columns: Iterable[object] | None = None) -> Input:
    """Makes an input of objects in memory; ``columns``: those that every one has.

    Raises (as it is read): ConfigurationError: a value that JSON has not.
    """

    def encoded() -> Records:
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise ConfigurationError(f"{name}: record {number} is no dict")
            try:
                yield msgspec.json.encode(row)
            except (TypeError, ValueError) as exc:
                raise ConfigurationError(f"{name}: record {number}: {exc}") from exc

    known = None if columns is None else tuple(str(column) for column in columns)
    return Input(name=name, columns=known, records=encoded)


def _opened_lines(path: Path) -> Records:
    with path.open("rb") as stream:
        yield from _json_lines(stream, str(path))


def _json_lines(stream: Iterable[bytes], name: str) -> Records:
    for number, line in enumerate(stream, start=1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if not text:
            continue
        try:
            msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise ConfigurationError(f"{name}: line {number} is no JSON object: {why_not_json(text, exc)}") from exc
        if is_too_deep(text):
            raise ConfigurationError(f"{name}: line {number} is nested deeper than {DEEPEST}")
        yield text


def _texts(path: Path) -> Records:
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        for number, line in enumerate(_decoded(stream, path), start=1):
            if "\0" in line:
                raise ConfigurationError(f"{path}: line {number} is not text")
            yield msgspec.json.encode({"text": line.rstrip("\n").removesuffix("\r")})


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        names = next(_csv_reader(stream, path), [])
    for place, column in enumerate(names):
        if not column:
            names[place] = f"column{place}"
        elif column in names[:place]:
            raise ConfigurationError(f"{path}: two columns are named {column!r}")
    return names


def _rows(path: Path) -> Records:
    """Values are text. A short row's missing fields are empty; a row that is too long is an error."""
    names = _header(path)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = _csv_reader(stream, path)
        next(reader, None)
        for row in reader:
            if not row:
                continue
            if len(row) > len(names):
                raise ConfigurationError(f"{path}: a row has {len(row)} fields, the header has {len(names)}: {row[:1]}")
            row += [""] * (len(names) - len(row))
            yield msgspec.json.encode(dict(zip(names, row, strict=True)))


def _csv_reader(stream: TextIO, path: Path) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(_decoded(stream, path), delimiter=_delimiter(path), strict=True)
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            raise ConfigurationError(f"{path}: line {reader.line_num}: {exc}") from exc


def _delimiter(path: Path) -> str:
    """The first of the usual delimiters that stands in the header outside of quotes; a comma if there is none."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    with path.open("rb") as stream:
        header = stream.readline(1 << 20).decode(errors="replace")
    return delimiter_of(header)


def _decoded(stream: TextIO, path: Path) -> Iterator[str]:
    try:
        yield from stream
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path}: byte {exc.start} is not UTF-8; convert the file first") from exc


def _parquet_columns(path: Path) -> tuple[str, ...]:
    with driver("duckdb").connect() as connection:
        connection.execute(QUIET)
        try:
            rows = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
        except driver("duckdb").Error as exc:
            raise ConfigurationError(f"{path}: can't be read as Parquet: {str(exc).partition(NEW_LINE)[0]}") from exc
    return tuple(row[0] for row in rows)


def _parquet(path: Path) -> Records:
    row = free_name("row_", _parquet_columns(path))  # a column of that name would stand for itself
    with driver("duckdb").connect() as connection:
        connection.execute(QUIET)
        try:
            result = connection.execute(f"SELECT to_json({row}) FROM read_parquet(?) AS {row}", [str(path)])  # noqa: S608 - a name made here
            while rows := result.fetchmany(ROWS_AT_ONCE):
                for (text,) in rows:
                    yield text.encode()
        except driver("duckdb").Error as exc:
            raise ConfigurationError(f"{path}: can't be read as Parquet: {str(exc).partition(NEW_LINE)[0]}") from exc


def _files(folder: Path, output: str | None) -> Records:
    """Every file below the folder in the order of its path; hidden ones are left out."""
    own = None if output is None else str(Path(output).resolve())
    for path in sorted(folder.rglob("*")):
        if own is not None and str(path.resolve()).startswith(own):
            continue
        place = path.relative_to(folder)
        if any(part.startswith(".") for part in place.parts) or not path.is_file():
            continue
        record: dict[str, Any] = {"path": place.as_posix()}
        data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" not in text:
            record["text"] = text
        yield msgspec.json.encode(record)

"""Files of DuckDB as the modules of inference use them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from forebay.connectors.duck import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS_AT_ONCE = 2048
LEAST_LINE_BYTES = 64 * 1024  # DuckDB's buffer is twice the longest line that it is told of


def parquet(paths: Sequence[Path]) -> str:
    """Parquet files as one table in SQL."""
    return f"read_parquet([{', '.join(literal(path) for path in paths)}])"


class LinesFile:
    """A file of JSON lines that is written for DuckDB."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._longest = LEAST_LINE_BYTES

    def write(self, row: dict[str, object]) -> None:
        line = msgspec.json.encode(row)
        self._longest = max(self._longest, len(line) + 2)
        self._file.write(line)
        self._file.write(b"\n")

    def close(self) -> None:
        self._file.close()

    def table(self, columns: str) -> str:
        """The closed file as a table in SQL."""
        return json_lines(self._path, columns, self._longest)


def json_lines(path: Path, columns: str, longest: int) -> str:
    """A file of JSON lines as a table in SQL."""
    return f"read_json({literal(path)}, format='newline_delimited', columns={columns}, maximum_object_size={longest})"


def rows_of(connection: "DuckDBPyConnection", query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, some at once. Another query may run meanwhile."""
    cursor = connection.cursor()
    try:
        cursor.execute(query)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield from rows
    finally:
        cursor.close()

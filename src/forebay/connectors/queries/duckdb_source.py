"""A DuckDB file that is asked: attached read-only, without reach to other files, the network or extensions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from forebay.connectors.duckdb_files import DEFAULT_READERS, Connection, DuckFile
from forebay.connectors.queries.rows import RowGatherer
from forebay.domain.data_source import QueryResult
from forebay.domain.errors import TargetRejected
from forebay.policy.sql_text import Statement

FETCHED_ROWS = 500
#: Python's driver wants another package for these; the database writes them out itself.
_WRITTEN_OUT = {
    "TIMESTAMP WITH TIME ZONE": "strftime({0}, '%Y-%m-%dT%H:%M:%S.%fZ')",
    "TIME WITH TIME ZONE": "{0}::VARCHAR",
}


class DuckSource:
    """``QuerySource`` over a file."""

    def __init__(self, path: Path, name: str, *, connections: int | None = None) -> None:
        self._name = name
        self._file = DuckFile(path, name, readers=connections or DEFAULT_READERS)

    async def query(
        self,
        statement: Statement,
        values: Mapping[str, Any],
        *,
        most_rows: int,
        timeout_seconds: float,  # noqa: ARG002 - whoever waits cancels: the statement ends with them
    ) -> QueryResult:
        return await self._file.read(lambda connection: self._asked(connection, statement, values, most_rows))

    async def check(self) -> str:
        await self._file.read(lambda connection: connection.execute("SELECT 1").fetchone())
        return "the file can be read"

    async def close(self) -> None:
        await self._file.close()

    def _asked(
        self, connection: Connection, statement: Statement, values: Mapping[str, Any], most_rows: int
    ) -> QueryResult:
        text = statement.with_places(lambda _, name: f"${name}")
        found = connection.extract_statements(text)
        if len(found) != 1 or found[0].type != duckdb.StatementType.SELECT:
            raise TargetRejected(f"{self._name}: one SELECT can be asked, nothing else")
        given = dict(values) or None
        columns = [(row[0], row[1]) for row in connection.execute(f"DESCRIBE {text}", given).fetchall()]
        gatherer = RowGatherer(
            [name for name, _ in columns],
            most_rows=most_rows,
            json_columns=[place for place, (_, kind) in enumerate(columns) if kind == "JSON"],
        )
        shown = ", ".join(_shown(name, kind) for name, kind in columns)
        connection.execute(f"FROM (\n{text}\n) AS asked SELECT {shown} LIMIT {most_rows + 1}", given)
        while rows := connection.fetchmany(FETCHED_ROWS):
            if not gatherer.take(rows):
                break
        return gatherer.result()


def _shown(name: str, kind: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    return f"{_WRITTEN_OUT.get(kind, '{0}').format(quoted)} AS {quoted}"

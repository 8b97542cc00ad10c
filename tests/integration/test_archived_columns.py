"""No column of any layout is left out of archives but those that were decided upon."""

from contextlib import closing
from pathlib import Path

import apsw
import asyncpg

from forebay.domain.archive import PARTS
from forebay.stores import sqlite
from forebay.testing.clock import FakeClock
from tests.integration.postgres_house import empty_place, server

# What says who works on what now; what workers tell each other for seconds; what the address of a store is made of.
OF_THE_MOMENT = {"leases", "workers", "lessons", "meta", "sqlite_sequence"}
BLOBS = {"blobs", "blob_pieces"}  # by the port of blobs
# What a back end derives from other columns, or may begin anew.
OF_A_BACK_END = {
    "jobs": {"target", "model", "metadata"},
    "records": {"labels"},
    "ready": {"is_fresh"},
    "later": {"entered_at"},
}
ARCHIVED = {part.name: set(part.columns) for part in PARTS}


def left_out(found: dict[str, set[str]]) -> dict[str, set[str]]:
    """Columns by table that no part has and that nobody decided to leave out."""
    unknown = {table: columns - ARCHIVED.get(table, set()) for table, columns in found.items()}
    return {table: columns - OF_A_BACK_END.get(table, set()) for table, columns in unknown.items() if columns}


def tables(found: dict[str, set[str]]) -> dict[str, set[str]]:
    return {table: columns for table, columns in found.items() if table not in OF_THE_MOMENT | BLOBS}


async def test_sqlite_keeps_nothing_that_is_not_moved(tmp_path: Path) -> None:
    await (await sqlite.open_store(tmp_path / "forebay.db", clock=FakeClock())).close()
    with closing(apsw.Connection(str(tmp_path / "forebay.db"))) as connection:
        names = [str(row[0]) for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = {
            name: {str(row[0]) for row in connection.execute("SELECT name FROM pragma_table_info(?)", (name,))}
            for name in names
        }
    assert {table: rest for table, rest in left_out(tables(found)).items() if rest} == {}
    assert ARCHIVED.keys() <= found.keys()


async def test_postgresql_keeps_nothing_that_is_not_moved() -> None:
    place = await empty_place(f"{server().url()}?schema=archived")  # other tests have tables of their own
    connection = await asyncpg.connect(place.dsn)
    rows = await connection.fetch(
        "SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN information_schema.tables t"
        " USING (table_schema, table_name) WHERE table_schema = $1 AND t.table_type = 'BASE TABLE'",
        place.schema,
    )
    await connection.close()
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    assert {table: rest for table, rest in left_out(tables(found)).items() if rest} == {}
    assert ARCHIVED.keys() <= found.keys()

"""Chooses what keeps an index by its place; drivers load at their first use."""

import re
from pathlib import Path

from forebay.connectors.drivers import connector
from forebay.domain.errors import ConfigurationError
from forebay.domain.vectors import DOCUMENTS
from forebay.ports import VectorIndex

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?", re.ASCII)
_POSTGRES = ("postgresql://", "postgres://")
_FILE = "duckdb://"


def open_index(
    place: str | Path, *, table: str | None = None, folder: Path | None = None, connections: int | None = None
) -> VectorIndex:
    """Opens the index at a path (relative to ``folder``), ``duckdb:///PATH``, or ``postgresql://…`` with ``table``,
    which may have its schema before it. It need not exist yet. At most ``connections`` search at once.

    Raises: ConfigurationError: it is no such place, or the driver is not installed.
    """
    if table is not None and not _TABLE.fullmatch(table):
        raise ConfigurationError(f"{table!r} is no name of a table: letters, digits and `_`, a schema before a dot")
    text = str(place)
    if text.startswith(_POSTGRES):
        in_database: VectorIndex = connector("postgresql index").PostgresIndex(
            text, table or DOCUMENTS, connections=connections
        )
        return in_database
    if text.startswith(_FILE + "/"):
        text = text.removeprefix(_FILE + "/")
    elif "://" in text:
        scheme = text.partition("://")[0]
        raise ConfigurationError(f"there is no index in {scheme}://: give a path, duckdb:///PATH or postgresql://…")
    if not text or table is not None:
        raise ConfigurationError("an index in a file has a path, and one table that needs no name")
    in_file: VectorIndex = connector("duckdb index").DuckIndex(
        (folder or Path()).absolute() / text, connections=connections
    )
    return in_file

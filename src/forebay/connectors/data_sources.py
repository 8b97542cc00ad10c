"""Opens the data sources of targets by their addresses. The composition root hands it to them."""

import re
from collections.abc import Callable
from pathlib import Path

from forebay.connectors.drivers import connector
from forebay.connectors.vectors import open_index
from forebay.domain.errors import ConfigurationError
from forebay.ports import QuerySource, VectorIndex

_SCHEME = re.compile(r"(?P<scheme>[a-z]+)://(?P<rest>.+)", re.DOTALL)
_POSTGRES = frozenset({"postgresql", "postgres"})
_IN_FILES = {"sqlite": "SqliteSource", "duckdb": "DuckSource"}


class Connectors:
    """``DataSources``: files of SQLite and DuckDB, databases of PostgreSQL. Paths are relative to ``folder``."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def query_source(self, url: str, *, name: str, connections: int | None) -> QuerySource:
        found = _SCHEME.fullmatch(url)
        scheme = found["scheme"] if found else ""
        if scheme in _POSTGRES:
            database: Callable[..., QuerySource] = connector("postgresql").PostgresSource
            return database(url, name, connections=connections)
        if found and scheme in _IN_FILES and found["rest"].startswith("/") and len(found["rest"]) > 1:
            path = (self._folder or Path()).absolute() / found["rest"][1:]
            file: Callable[..., QuerySource] = getattr(connector(scheme), _IN_FILES[scheme])
            return file(path, name, connections=connections)
        raise ConfigurationError("an address of a database is sqlite:///FILE, duckdb:///FILE or postgresql://…")

    def vector_index(self, place: str, *, table: str | None, connections: int | None) -> VectorIndex:
        return open_index(place, table=table, folder=self._folder, connections=connections)

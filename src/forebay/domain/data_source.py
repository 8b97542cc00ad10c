"""Data sources as they are declared and asked: a database by SQL, a vector index by nearness."""

from typing import Any

import msgspec

from forebay.domain.record import Record

DEFAULT_ROWS = 1000
MOST_ROWS = 100_000
MOST_RESULT_BYTES = 16 * 1024 * 1024  # of the rows of one answer: beyond, it is truncated
DEFAULT_MATCHES = 10


class SqlSource(Record, frozen=True, kw_only=True):
    """``query`` with ``:names`` of parameters; None: the request has one (``allow_query``)."""

    url: str  # may have a password
    query: str | None = None
    allow_query: bool = False
    max_rows: int = DEFAULT_ROWS

    def __repr__(self) -> str:
        """Without the address, which may have a password."""
        return f"SqlSource(query={self.query!r})"


class SearchSource(Record, frozen=True, kw_only=True):
    """``embedder``: ``target`` or ``target/model``; None: the request has the vector. ``filter``: of every search."""

    index: str  # a path, or an address with a password
    table: str | None = None
    embedder: str | None = None
    k: int = DEFAULT_MATCHES
    filter: dict[str, Any] = {}

    def __repr__(self) -> str:
        """Without the address, which may have a password."""
        return f"SearchSource(table={self.table!r}, embedder={self.embedder!r})"


class QueryResult(Record, frozen=True, kw_only=True):
    """Rows as JSON objects. ``is_truncated``: there were more."""

    columns: tuple[str, ...]
    rows: tuple[msgspec.Raw, ...]
    is_truncated: bool = False

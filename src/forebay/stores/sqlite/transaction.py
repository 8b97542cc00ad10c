"""What verbs see of the database: Session, statements by name; and Tx, the transaction of one commit."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import apsw
import msgspec

from forebay.domain.ids import IdSource
from forebay.domain.job import Job
from forebay.stores.sqlite.recent import Recent
from forebay.stores.sqlite.statements import statements

MOST_VARIABLES = 32_766  # of one statement. Source: https://sqlite.org/limits.html
Row = tuple[Any, ...]  # what SQLite gives: each verb knows its own columns
Binding = str | int | float | None

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Session:
    """Executes statements by name."""

    __slots__ = ("_sql", "connection")

    def __init__(self, connection: apsw.Connection) -> None:
        self._sql: Mapping[str, str] = statements()
        self.connection = connection

    def run(self, name: str, *bindings: Binding) -> list[Row]:
        """Executes one statement and returns its rows."""
        return self.connection.execute(self._sql[name], bindings).fetchall()

    def bulk(self, name: str, items: object, *bindings: Binding) -> list[Row]:
        """Executes a statement whose first parameter is a JSON array (or object): one call for many rows, because a
        busy event loop takes the interpreter's lock back between any two.
        """
        return self.connection.execute(self._sql[name], (as_json(items), *bindings)).fetchall()

    def spread(self, name: str, width: int, values: list[Binding]) -> list[Row]:
        """Executes a statement with ``VALUES ?*``, which stands for rows of so many values: long texts and wide rows
        cost less bound than packed into JSON and taken out again.
        """
        most = MOST_VARIABLES // width * width
        found: list[Row] = []
        for start in range(0, len(values), most):
            some = values if len(values) <= most else values[start : start + most]
            text = self._sql[name].replace("?*", _places(len(some) // width, width))
            found += self.connection.execute(text, some, can_cache=False).fetchall()
        return found

    def packed(self, name: str, *bindings: Binding) -> list[Any]:
        """Executes a statement that packs its rows into one JSON array, for the same reason: a row is a step."""
        rows: list[Any] = _decode(str(self.connection.execute(self._sql[name], bindings).fetchall()[0][0]))
        return rows


class Redo(Exception):
    """The quick way does not serve this transaction: it is rolled back and run again with ``is_careful``."""


class Tx(Session):
    """One time for all that is committed together, new ids, and the topics to be signalled after the commit."""

    __slots__ = ("added", "ids", "is_careful", "now", "recent", "topics")

    def __init__(
        self, connection: apsw.Connection, now: float, ids: IdSource, recent: Recent, *, is_careful: bool = False
    ) -> None:
        super().__init__(connection)
        self.now = now
        self.ids = ids
        self.recent = recent
        self.added: list[Job] = []  # leaves in `ready`, to be kept as recent after the commit
        self.topics: set[str] = set()
        self.is_careful = is_careful  # False: a verb may raise Redo when something is out of the ordinary


@lru_cache(maxsize=1024)
def _places(rows: int, width: int) -> str:
    row = "(" + ",".join("?" * width) + ")"
    return ",".join([row] * rows)


def as_json(items: object) -> str:
    return _encode(items).decode()

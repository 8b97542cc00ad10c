"""What verbs see of the database: Session, statements by name; and Tx, the transaction of one commit."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from forebay.domain.ids import IdSource
from forebay.stores.postgres.link import Connection
from forebay.stores.postgres.statements import statements

Row = Sequence[Any]  # what the driver gives: each verb knows its own columns
_encode = msgspec.json.Encoder().encode


class Session:
    """Executes statements by name."""

    __slots__ = ("_is_scrubbing", "_sql", "connection")

    def __init__(self, connection: Connection, *, is_scrubbing: bool = False) -> None:
        self._sql: Mapping[str, str] = statements()
        self._is_scrubbing = is_scrubbing  # texts go in without U+0000, which PostgreSQL can't keep
        self.connection = connection

    async def run(self, name: str, *bindings: object) -> list[Any]:
        """Executes one statement and returns its rows."""
        return await self.text(self._sql[name], bindings)

    async def bulk(self, name: str, items: Collection[Any], *bindings: object) -> list[Any]:
        """Executes a statement whose first parameters are arrays, one for each column of the items (one, if they are
        no tuples): one call for many rows. Without items it executes nothing.
        """
        if not items:
            return []
        rows = list(items)
        columns: Iterable[Any] = zip(*rows, strict=True) if type(rows[0]) is tuple else (rows,)
        return await self.text(self._sql[name], (*columns, *bindings))

    async def text(self, sql: str, bindings: Sequence[object]) -> list[Any]:
        """Executes SQL that a module made of its own constants."""
        if self._is_scrubbing:
            bindings = [_scrubbed(binding) for binding in bindings]
        found: list[Any] = await self.connection.fetch(sql, *bindings)
        return found


Aside = Callable[[str, Collection[Any]], Awaitable[list[Any]]]


class Lease(NamedTuple):
    """A lease, known by more than its fence: a server that took over may give a number again."""

    fence: int
    job_id: str
    worker_id: str


class Tx(Session):
    """One time for all that is committed together, new ids, and what is to be done after the commit: topics to be
    signalled, and waiting jobs to be settled once more (another process's end of a child was not visible to us).
    """

    __slots__ = ("aside", "ids", "leases", "now", "topics", "unsettled")

    def __init__(
        self, connection: Connection, now: float, ids: IdSource, aside: Aside, *, is_scrubbing: bool = False
    ) -> None:
        super().__init__(connection, is_scrubbing=is_scrubbing)
        self.now = now
        self.ids = ids
        self.aside = aside  # bulk in a transaction of its own that waits for no disk: ranks
        self.topics: set[str] = set()
        self.unsettled: set[str] = set()
        self.leases: list[Lease] = []  # that this transaction makes


def as_json(items: object) -> str:
    return _encode(items).decode()


def scrub(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _scrubbed(binding: object) -> object:
    if isinstance(binding, str):
        return scrub(binding)
    if isinstance(binding, list | tuple):
        return [scrub(one) if isinstance(one, str) else one for one in binding]
    return binding

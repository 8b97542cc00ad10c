"""The ports to data that requests are answered from: vector indexes, and databases that are asked, never changed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from forebay.domain.data_source import QueryResult
from forebay.domain.vectors import IndexFacts, VectorMatch, VectorRow
from forebay.policy.sql_text import Statement
from forebay.policy.vector_filter import Condition


class VectorIndex(Protocol):
    """One vector index, searched exactly. Opening it reads nothing; it need not exist yet."""

    async def replace(self, rows: Iterable[VectorRow], *, model: str | None = None) -> IndexFacts:
        """Puts these rows in the place of all that there were. Searches see the old index or the new one, and the old
        one where this fails or is killed. ``rows`` is read in a thread, a few thousand at a time.

        Raises: RequestError: no rows, two of one id, vectors of unlike lengths or with what is no number.
        TargetUnavailable: the database can't be reached, or the folder not be written.
        """
        ...

    async def search(
        self, vector: Sequence[float], *, k: int, conditions: Sequence[Condition] = ()
    ) -> list[VectorMatch]:
        """The ``k`` rows nearest to the vector, nearest first, equally near ones by id; those without a direction (all
        zeros) never. Cancelling ends the statement.

        Raises: TargetRejected: no index is there, or its vectors are of another length. TargetUnavailable.
        """
        ...

    async def facts(self) -> IndexFacts:
        """What the index says of itself. Raises: TargetRejected: there is none. TargetUnavailable."""
        ...

    async def close(self) -> None: ...


class QuerySource(Protocol):
    """One database that is asked and can't be changed. Its connections are few, and opened at the first question."""

    async def query(
        self, statement: Statement, values: Mapping[str, Any], *, most_rows: int, timeout_seconds: float
    ) -> QueryResult:
        """Runs one statement, in a transaction that can't write; values are bound. Cancelling ends it, and so does the
        time limit, at the database too where it can.

        Raises: TargetRejected: the statement or a value is wrong, or it would write. TargetUnavailable: the database
        can't be reached. TargetFailed: it gave the statement up.
        """
        ...

    async def check(self) -> str:
        """Asks for the least there is and returns what answered. Raises: as ``query``."""
        ...

    async def close(self) -> None: ...


class DataSources(Protocol):
    """Opens sources by their addresses; nothing is connected by it. ``name``: what messages call it."""

    def query_source(self, url: str, *, name: str, connections: int | None) -> QuerySource:
        """Raises: ConfigurationError: no such address, or the driver is not installed."""
        ...

    def vector_index(self, place: str, *, table: str | None, connections: int | None) -> VectorIndex:
        """Raises: ConfigurationError: likewise."""
        ...

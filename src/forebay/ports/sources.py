"""The ports to data that requests are answered from: vector indexes, and databases that are asked, never changed."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from forebay.domain.vectors import IndexFacts, VectorMatch, VectorRow
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

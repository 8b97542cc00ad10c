"""The port to places where files appear: folders of this machine, prefixes of object stores."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from forebay.domain.arrival import Arrival


class Arrivals(Protocol):
    """Looks for files. A look costs what lies there; ``changes`` is a hint only: looking must suffice."""

    def look(self, pattern: str, folder: str) -> AsyncIterator[list[Arrival]]:
        """Pages of the files that the pattern names now. A relative path is relative to ``folder``.

        Raises: RequestError: the place is not there or may not be read; TargetUnavailable: it can't be reached. What
        came before says nothing of what lies there no more.
        """
        ...

    async def digest(self, arrival: Arrival) -> str | None:
        """The sha256 of a file of this machine, what an object store says in its place; None: it is there no more as it
        was.
        """
        ...

    def changes(self, places: Sequence[tuple[str, str]]) -> AsyncIterator[None]:
        """Something may have changed at one of the places (pattern, folder)."""
        ...

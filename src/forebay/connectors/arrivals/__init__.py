"""Where files appear: the adapter of the port ``Arrivals``."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from forebay.connectors.arrivals import local
from forebay.connectors.drivers import connector
from forebay.domain.arrival import Arrival

__all__ = ["Places"]
BUCKETS = ("s3://", "gs://")


class Places:
    """See Arrivals. Credentials of object stores are those of the environment."""

    def __init__(self) -> None:
        self._folders = local.Folders()

    async def look(self, pattern: str, folder: str) -> AsyncIterator[list[Arrival]]:
        if pattern.startswith(BUCKETS):
            buckets: Any = connector("arrivals in buckets")
            pages: AsyncIterator[list[Arrival]] = buckets.look(pattern)
        else:
            pages = self._folders.look(pattern.removeprefix("file://"), folder)
        async for page in pages:
            yield page

    async def digest(self, arrival: Arrival) -> str | None:
        if arrival.place.startswith(BUCKETS):
            buckets: Any = connector("arrivals in buckets")
            tag: str | None = await buckets.digest(arrival)
            return tag
        return await self._folders.digest(arrival)

    async def changes(self, places: Sequence[tuple[str, str]]) -> AsyncIterator[None]:
        here = [(path.removeprefix("file://"), folder) for path, folder in places if not path.startswith(BUCKETS)]
        if here:
            async for change in local.changes(here):
                yield change

"""``forebay.AsyncClient``: a server's jobs, batches, files, events and runs from asynchronous code."""

from forebay.client.events import AsyncEvents
from forebay.client.files import AsyncBatches, AsyncFiles
from forebay.client.jobs import AsyncJobs
from forebay.client.runs import AsyncRuns
from forebay.client.transport import Transport


class AsyncClient:
    """Speaks to ``server`` (``FOREBAY_SERVER``, else http://127.0.0.1:8700) with ``api_key`` (``FOREBAY_API_KEY``).

    ``async with`` closes its connections.
    """

    def __init__(self, server: str | None = None, *, api_key: str | None = None) -> None:
        self._transport = Transport(server, api_key)
        self.jobs = AsyncJobs(self._transport)
        self.files = AsyncFiles(self._transport)
        self.batches = AsyncBatches(self._transport)
        self.events = AsyncEvents(self._transport)
        self.runs = AsyncRuns(self._transport)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

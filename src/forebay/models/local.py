"""LocalModels: the address of a pulled model, whose server is started when it is first asked for."""

import asyncio

from forebay.domain.errors import ConfigurationError
from forebay.models.cache import ModelCache, cache_folder
from forebay.models.catalogue import find_model
from forebay.models.engines import require_engine
from forebay.models.guard import GuardedServer, Patience


def problem_of(name: str, cache: ModelCache | None = None) -> str | None:
    """Says why a model can't be started here, and what to do; None: it can."""
    try:
        model = find_model(name)
        require_engine(model.kind)
        (cache or ModelCache(cache_folder())).require(model)
    except ConfigurationError as error:
        return str(error)
    return None


class LocalModels:
    """The model servers of one process and one event loop. Starting costs nothing until an address is asked for."""

    def __init__(self, cache: ModelCache | None = None, patience: Patience | None = None) -> None:
        self._cache = cache or ModelCache(cache_folder())
        self._patience = patience
        self._servers: dict[str, GuardedServer] = {}
        self._starting: dict[str, asyncio.Task[GuardedServer]] = {}

    async def address(self, model: str) -> tuple[str, str]:
        """Returns base URL (ending in ``/v1``) and API key of the model's server; starts it once, on a free port.

        The address stays the same while the server is guarded; between two lives of it calls are refused, which is
        unavailable and no failure. A caller that is cancelled does not break off the start that others wait for.

        Raises: ConfigurationError: unknown, not pulled, or the engine isn't installed. TargetUnavailable: its server
        does not come up.
        """
        server = self._servers.get(model)
        if server is None:
            start = self._starting.get(model)
            if start is None:
                start = self._starting[model] = asyncio.create_task(self._start(model))
            server = await asyncio.shield(start)
        return server.base_url, server.api_key

    async def close(self) -> None:
        """Ends every server. Idempotent."""
        starts = list(self._starting.values())
        for start in starts:
            start.cancel()
        await asyncio.gather(*starts, return_exceptions=True)
        servers, self._servers = list(self._servers.values()), {}
        await asyncio.gather(*(server.close() for server in servers))

    async def _start(self, name: str) -> GuardedServer:
        try:
            model = find_model(name)
            server = GuardedServer(model, self._cache.require(model), patience=self._patience)
            await server.start()
            self._servers[name] = server
            return server
        finally:
            del self._starting[name]

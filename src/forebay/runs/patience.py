"""Patience of a run with its store: what is away for a while is waited for, and the run goes on where it was."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import TypeVar

from forebay.domain.errors import ForebayError, StoreDamaged, StoreUnavailable
from forebay.runs.backend import Backend, BatchState, Lines, Piece, RunOrder, Stream
from forebay.runs.options import RunOptions
from forebay.runs.place import Place
from forebay.runs.progress import Reporter
from forebay.runs.site import Site

T = TypeVar("T")
PAUSE_SECONDS = 0.5  # between tries
FIRST_SECONDS = 60.0  # then a store that was never there is taken for a wrong address


class Stopped(ForebayError):
    """The run was asked to stop before its end; the same command goes on."""


class Patience:
    """Waits out what a store says while it is away. ``stop`` set: no longer."""

    def __init__(self, reporter: Reporter, stop: asyncio.Event) -> None:
        self._reporter = reporter
        self._stop = stop
        self._is_told = False

    async def until_there(self, step: Callable[[], Awaitable[T]], *, seconds: float | None = None) -> T:
        """Repeats the step until the store is there for it. Raises: Stopped; after ``seconds``, StoreUnavailable."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            try:
                result = await step()
            except StoreUnavailable as away:
                if seconds is not None and loop.time() - since > seconds:
                    raise
                await self.pause(away)
            else:
                self._is_told = False
                return result

    async def pause(self, away: StoreUnavailable) -> None:
        """Says once that it waits, and waits a little. Raises: Stopped; StoreDamaged: waiting would not help."""
        if isinstance(away, StoreDamaged):
            raise away
        if not self._is_told:
            self._is_told = True
            self._reporter.say(f"{away}; waiting for it")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), PAUSE_SECONDS)
        if self._stop.is_set():
            raise Stopped("stopped") from away


class PatientBackend:
    """A Backend that waits while the store of another is away. Every verb of a Backend may be repeated."""

    def __init__(self, backend: Backend, patience: Patience) -> None:
        self._backend = backend
        self._patience = patience

    def working(self) -> AbstractAsyncContextManager[None]:
        return self._backend.working()  # a worker is patient itself

    async def earlier(self, name: str) -> list[BatchState]:
        return await self._patience.until_there(lambda: self._backend.earlier(name))

    async def create(self, order: RunOrder, lines: Lines) -> str:
        return await self._patience.until_there(lambda: self._backend.create(order, lines))

    async def cancel(self, batch_id: str) -> None:
        await self._patience.until_there(lambda: self._backend.cancel(batch_id))

    async def state(self, batch_id: str) -> BatchState:
        return await self._patience.until_there(lambda: self._backend.state(batch_id))

    async def lines(self, batch_id: str, stream: Stream, after: int) -> AsyncIterator[Piece]:
        while True:
            try:
                async for piece in self._backend.lines(batch_id, stream, after):
                    yield piece
                    after = piece.cursor
            except StoreUnavailable as away:
                await self._patience.pause(away)
            else:
                return

    async def unpublished(self, batch_id: str) -> AsyncIterator[Piece]:
        while True:
            try:
                async for piece in self._backend.unpublished(batch_id):
                    yield piece
            except StoreUnavailable as away:
                await self._patience.pause(away)
            else:
                return

    async def changed(self, batch_id: str, timeout_seconds: float) -> None:
        await self._patience.until_there(lambda: self._backend.changed(batch_id, timeout_seconds))

    async def unreachable(self, batch_id: str) -> str | None:
        return await self._backend.unreachable(batch_id)


@asynccontextmanager
async def connected(site: Site, place: Place, options: RunOptions, patience: Patience) -> AsyncIterator[Backend]:
    """Opens the batches of a site; a database that is away may take a minute to come.

    Raises: StoreUnavailable: it did not; Stopped.
    """
    seconds = 0.0 if place.settings.store.path is not None else FIRST_SECONDS
    async with AsyncExitStack() as stack:
        backend = await patience.until_there(
            lambda: stack.enter_async_context(site.connect(place, options)), seconds=seconds
        )
        yield PatientBackend(backend, patience)

"""The tables of steps, over DuckDB: each piece of work in a thread and a folder of its own, bounded in memory.

The composition root opens it. DuckDB is loaded at the first step.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from forebay.connectors.drivers import connector
from forebay.connectors.stopping import Stopped, Stopper
from forebay.connectors.workplace import Shop, Workplace, work_folder
from forebay.domain.errors import NotSupported, RequestError
from forebay.domain.pipeline import STEP_FAILED, StepOutcome, StepWork, TableRef, with_contents
from forebay.ports import BlobStore
from forebay.threads import DaemonPool

T = TypeVar("T")
AT_ONCE = 2  # pieces of work
MEMORY_BYTES = 384 * 1024 * 1024  # of DuckDB in each; what is more stands in the work's folder
_AGAIN_SECONDS = 0.05  # between two attempts to stop: one may hit the moment between two statements


class DuckTables:
    """See Tables. ``folder``: where work may leave its files while it lasts; the system's own for such by default."""

    def __init__(self, blobs: BlobStore, folder: Path | None = None, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._shop = Shop(blobs=blobs, memory_bytes=memory_bytes)
        self._folder = folder
        self._pool = DaemonPool(AT_ONCE, "steps")

    async def run(self, work: StepWork) -> StepOutcome:
        does: Any = (await self._steps()).WORKS.get(work.step.kind)
        if does is None:
            raise NotSupported(f"{work.step.kind} is no step over tables")
        outcome: StepOutcome = await self.working(partial(does, work))
        return replace(outcome, output=with_contents(outcome.output, work.inputs))

    async def fingerprint(self, work: StepWork) -> str | None:
        fingerprint_of = (await self._steps()).fingerprint_of
        return await self.working(lambda place: fingerprint_of(work, place))

    async def rows(self, table: TableRef, *, limit: int) -> list[dict[str, Any]]:
        first_rows = (await self._steps()).first_rows
        return await self.working(lambda place: first_rows(place, table, limit))

    async def close(self) -> None:
        self._pool.close()

    async def working(self, work: Callable[[Workplace], T]) -> T:
        """Runs ``work`` in a thread with a workplace. Cancelling breaks it off, and waits until its folder is gone.

        Raises: what ``work`` raises; RequestError: the disk is full, or memory does not suffice.
        """
        stopper, loop = Stopper(), asyncio.get_running_loop()
        doing = asyncio.ensure_future(self._pool.run(lambda: self._outcome(work, stopper, loop)))
        try:
            outcome = await asyncio.shield(doing)
        except asyncio.CancelledError:
            while not doing.done():
                stopper.stop()
                await asyncio.wait([doing], timeout=_AGAIN_SECONDS)
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _steps(self) -> Any:
        return await asyncio.to_thread(connector, "steps")

    def _outcome(
        self, work: Callable[[Workplace], T], stopper: Stopper, loop: asyncio.AbstractEventLoop
    ) -> T | Exception:
        """A thread of the pool must not raise."""
        try:
            with work_folder(self._folder) as folder:
                return work(Workplace(folder, self._shop, stopper, loop))
        except Stopped:
            return RequestError("the step was stopped", code=STEP_FAILED)
        except OSError as exc:
            return RequestError(f"the step's work can't be kept on the disk: {exc.strerror or exc}", code=STEP_FAILED)
        except Exception as exc:  # noqa: BLE001 - it is raised again where the work is waited for
            return exc

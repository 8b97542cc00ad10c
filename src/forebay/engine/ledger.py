"""Ledger: attempts are written before they are sent, all that were begun in one turn of the event loop as one call.

A claim starts hundreds of jobs in one turn; a call of the store for each costs the loop more than all else of a begin.
"""

import asyncio

from forebay.domain.attempt import Attempt
from forebay.domain.change import Verdict
from forebay.domain.errors import StoreUnavailable
from forebay.ports import JobStore

Waiting = tuple[Attempt, "asyncio.Future[Verdict]"]


class Ledger:
    """Gathers begins. One whose caller is cancelled is written all the same."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._waiting: list[Waiting] = []
        self._writes: set[asyncio.Task[None]] = set()

    def begin(self, attempt: Attempt) -> "asyncio.Future[Verdict]":
        """The reply comes when the attempt is durable; only ``applied`` allows the call.

        Raises (when awaited): StoreUnavailable: send nothing.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._start_write)  # runs after the callbacks that are due now: they begin theirs first
        written: asyncio.Future[Verdict] = loop.create_future()
        self._waiting.append((attempt, written))
        return written

    def _start_write(self) -> None:
        waiting, self._waiting = self._waiting, []
        write = asyncio.create_task(self._write(waiting), name="begin")
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def _write(self, waiting: list[Waiting]) -> None:
        try:
            verdicts = await self._jobs.begin([attempt for attempt, _ in waiting])
        except StoreUnavailable as unavailable:
            _refuse(waiting, unavailable)
        except Exception as error:  # noqa: BLE001 - one attempt's fault: its caller gets it, and the others theirs
            if len(waiting) == 1:
                _refuse(waiting, error)
                return
            for one in waiting:
                await self._write([one])
        else:
            for (_, written), verdict in zip(waiting, verdicts, strict=True):
                if not written.done():
                    written.set_result(verdict)


def _refuse(waiting: list[Waiting], error: Exception) -> None:
    for _, written in waiting:
        if not written.done():
            written.set_exception(error)

"""A run from its plan to its last result: earlier results, batches left alive, one batch of what remains."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from forebay.domain.attempt import Usage
from forebay.domain.errors import ForebayError, TargetUnavailable
from forebay.domain.record import Record
from forebay.runs.backend import RUN_FRESH, RUN_HOST, RUN_NAME, RUN_REQUESTS, Backend, BatchState, Piece, Stream
from forebay.runs.partial import Rows
from forebay.runs.patience import Stopped
from forebay.runs.prepared import Prepared
from forebay.runs.progress import Pace, Reporter, Standing

POLL_SECONDS = 0.5


class Spent(Record, frozen=True, kw_only=True):
    """What the batches of this run used, beyond what they had used before it. None: nobody knows."""

    calls: int | None = 0  # of the whole run so far
    usage: Usage | None = Usage()
    cost_usd: float | None = 0.0
    reused: int = 0  # records that an adopted batch had done already

    def plus(self, other: "Spent") -> "Spent":
        """Both together, ``other`` being the later; unknown as soon as one is."""
        return Spent(
            calls=other.calls,
            usage=None if self.usage is None or other.usage is None else self.usage.plus(other.usage),
            cost_usd=None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd,
            reused=self.reused + other.reused,
        )


class Execution:
    """One run. ``stop`` set means: leave it in good order."""

    def __init__(
        self, prepared: Prepared, backend: Backend, partial: Rows, reporter: Reporter, stop: asyncio.Event
    ) -> None:
        self._prepared = prepared
        self._backend = backend
        self._workbook = prepared.workbook
        self._plan = prepared.plan
        self._interpreter = prepared.interpreter()
        self._partial = partial
        self._reporter = reporter
        self._pace = Pace()
        self._stop = stop
        self._known = 0, 0  # succeeded and failed before the batch that is followed

    async def earlier(self) -> list[BatchState]:
        """The run's batches so far, newest first."""
        return await self._backend.earlier(self._prepared.name)

    async def recall(self, earlier: Sequence[BatchState]) -> BatchState | None:
        """Takes over what earlier batches of the run brought, and ends those whose requests are not ours any more.

        Returns the live batch of the same requests, if a process left one. Must run where a worker works.
        """
        options = self._prepared.options
        adopted: BatchState | None = None
        is_remembered = not options.is_fresh
        for batch in earlier:
            if batch.is_live and is_remembered and adopted is None and batch.requests == self._plan.fingerprint:
                adopted = batch
            elif batch.is_live and self._is_ours(batch):
                await self._backend.cancel(batch.id)
                await self._ended(batch.id)
            if is_remembered and batch is not adopted:
                await self._absorb_all(batch.id)
            is_remembered = is_remembered and not batch.is_fresh
        if options.retry_failed:
            self._workbook.forget_failures()
        return adopted

    async def leave(self) -> str | None:
        """Makes the batch and leaves it to workers elsewhere. Returns its id, None if there is nothing to do."""
        options = self._prepared.options
        for batch in await self._backend.earlier(self._prepared.name):
            if options.is_fresh:
                break
            if batch.is_live and batch.requests == self._plan.fingerprint:
                return batch.id
            if batch.is_live and self._is_ours(batch):
                await self._backend.cancel(batch.id)
            await self._absorb_all(batch.id)
            if batch.is_fresh:
                break
        if options.retry_failed:
            self._workbook.forget_failures()
        return await self.submit()

    async def remember(self) -> None:
        """As ``recall``, only to know what is paid already: changes no batch."""
        options = self._prepared.options
        for batch in await self._backend.earlier(self._prepared.name):
            if options.is_fresh:
                break
            await self._absorb_all(batch.id)
            if batch.is_live:
                async for piece in self._backend.unpublished(batch.id):
                    await asyncio.to_thread(self._enter, piece, True)
            if batch.is_fresh:
                break
        if options.retry_failed:
            self._workbook.forget_failures()

    async def submit(self) -> str | None:
        """Makes a batch of what has no result yet. Returns its id, None if there is nothing to do."""
        if next(self._workbook.pending(), None) is None:
            return None
        metadata = {
            RUN_NAME: self._prepared.name,
            RUN_REQUESTS: self._plan.fingerprint,
            RUN_HOST: socket.gethostname(),
        }
        if self._prepared.options.is_fresh:
            metadata[RUN_FRESH] = "1"
        order = msgspec.structs.replace(self._prepared.order(), metadata=metadata)
        return await self._backend.create(order, self._lines)

    async def follow(self, batch_id: str, adopted: BatchState | None = None) -> Spent:
        """Takes results over as they come, until the batch has ended. ``adopted``: how it stood before this run.

        Raises: Stopped: ``stop`` was set; TargetUnavailable: no call reached the target for so long.
        """
        cursor = 0
        self._known = self._workbook.count(is_success=True), self._workbook.count(is_success=False)
        before = adopted or BatchState(id=batch_id, requests="", is_live=True, usage=Usage(), cost_usd=0.0)
        started_at = time.monotonic()
        state = await self._backend.state(batch_id)
        while state.is_live:
            if self._stop.is_set():
                raise Stopped("stopped")
            self._show(state)
            await self._wait(batch_id)
            state = await self._backend.state(batch_id)
            cursor = await self._absorb(batch_id, Stream.OUTPUT, is_reused=False, after=cursor)
            await self._check_reachable(state, before, started_at)
        await self._absorb(batch_id, Stream.OUTPUT, is_reused=False, after=cursor)
        self._interpreter.keeps_undone = True
        await self._absorb(batch_id, Stream.ERRORS, is_reused=False)
        self._interpreter.keeps_undone = False
        self._show(state)
        if state.problem is not None:
            raise ForebayError(state.problem)
        spent = _difference(state, before)
        return msgspec.structs.replace(spent, reused=before.succeeded)

    def _is_ours(self, batch: BatchState) -> bool:
        """Whether other requests of the same name are those of an earlier run here, which this one replaces. Another
        machine's path may be the same by chance: its run is left alone.
        """
        if batch.host in ("", socket.gethostname()):
            return True
        self._reporter.say(f"{batch.host} runs other requests for an output of this path: tell them apart by --name")
        return False

    @contextmanager
    def showing(self, adopted: BatchState | None) -> Iterator[None]:
        """Shows the progress while the block lasts."""
        standing = self.standing()
        done = adopted.succeeded if adopted is not None else 0
        self._reporter.begin(msgspec.structs.replace(standing, reused=standing.reused + done))
        try:
            yield
        finally:
            self._reporter.end()

    def standing(self, state: BatchState | None = None) -> Standing:
        """How the run stands. A live batch knows of more results than were published yet: its counts go on top of
        what was known before it.
        """
        succeeded, failed = self._workbook.count(is_success=True), self._workbook.count(is_success=False)
        if state is not None:
            succeeded, failed = self._known[0] + state.succeeded, self._known[1] + state.failed
        rate = self._pace.rate(succeeded + failed)
        left = self._plan.records - succeeded - failed
        return Standing(
            total=self._plan.records,
            succeeded=succeeded,
            failed=failed,
            reused=self._workbook.count(is_success=True, is_reused=True),
            usage=None if state is None else state.usage,
            cost_usd=None if state is None else state.cost_usd,
            rate=rate,
            remaining_seconds=left / rate if rate else None,
        )

    def _show(self, state: BatchState) -> None:
        self._reporter.update(self.standing(state))

    async def _ended(self, batch_id: str) -> None:
        while (await self._backend.state(batch_id)).is_live:
            if self._stop.is_set():
                raise Stopped("stopped")
            await self._wait(batch_id)

    async def _wait(self, batch_id: str) -> None:
        waits = [
            asyncio.create_task(self._backend.changed(batch_id, POLL_SECONDS)),
            asyncio.create_task(self._stop.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _check_reachable(self, state: BatchState, before: BatchState, started_at: float) -> None:
        patience = self._prepared.options.unreachable_seconds
        has_moved = state.succeeded + state.failed > before.succeeded + before.failed
        if has_moved or time.monotonic() - started_at < patience:
            return
        reason = await self._backend.unreachable(state.id)
        if reason is not None:
            raise TargetUnavailable(
                f"The target was never reachable for {patience:.0f} s ({reason}); the same command goes on when it is"
            )

    async def _absorb(self, batch_id: str, stream: Stream, *, is_reused: bool, after: int = 0) -> int:
        async for piece in self._backend.lines(batch_id, stream, after):
            await asyncio.to_thread(self._enter, piece, is_reused)
            after = piece.cursor
        return after

    async def _absorb_all(self, batch_id: str) -> None:
        await self._absorb(batch_id, Stream.OUTPUT, is_reused=True)
        await self._absorb(batch_id, Stream.ERRORS, is_reused=True)

    def _enter(self, piece: Piece, is_reused: bool) -> None:
        rows = self._workbook.enter(self._interpreter.outcomes(piece), is_reused=is_reused)
        self._partial.write(self._prepared.joiner.row(row.record, row.payload) for row in rows)

    async def _lines(self) -> AsyncIterator[bytes]:
        renderer = self._plan.renderer
        if renderer is None:
            return
        for entry in self._workbook.pending():
            request = renderer.render(msgspec.json.decode(entry.record))
            line = {
                "custom_id": entry.key,
                "method": "POST",
                "url": request.endpoint,
                "body": msgspec.Raw(request.body),
            }
            yield msgspec.json.encode(line) + b"\n"


def _difference(after: BatchState, before: BatchState) -> Spent:
    used, had = after.usage, before.usage
    if used is not None and had is not None:
        used = Usage(
            input_tokens=used.input_tokens - had.input_tokens,
            cached_tokens=used.cached_tokens - had.cached_tokens,
            output_tokens=used.output_tokens - had.output_tokens,
            reasoning_tokens=used.reasoning_tokens - had.reasoning_tokens,
        )
    cost = after.cost_usd
    if cost is not None and before.cost_usd is not None:
        cost -= before.cost_usd
    return Spent(calls=after.calls, usage=used, cost_usd=cost)

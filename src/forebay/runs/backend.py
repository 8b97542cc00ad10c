"""Where a run's batches live: the store on this machine, or a server. `execution` works with either."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, Protocol

from forebay.domain.attempt import Usage
from forebay.domain.record import Record

RUN_NAME = "forebay_run"  # metadata of a run's batches: by these the next run finds them
RUN_REQUESTS = "forebay_run_requests"
RUN_FRESH = "forebay_run_fresh"
RUN_HOST = "forebay_run_host"  # where the run was started

Lines = Callable[[], AsyncIterator[bytes]]  # from the first one on, each time


class Stream(StrEnum):
    """What can be read of a batch."""

    OUTPUT = "output"
    ERRORS = "errors"


class BatchState(Record, frozen=True, kw_only=True):
    """How a batch stands. ``requests`` is the fingerprint of the run's whole request set."""

    id: str
    requests: str
    is_live: bool
    is_fresh: bool = False
    host: str = ""  # where its run was started, if that may be another machine than this one
    succeeded: int = 0
    failed: int = 0
    calls: int | None = None  # of this run, whichever batch; None: nobody counts
    usage: Usage | None = None
    cost_usd: float | None = None
    problem: str | None = None  # why it failed as a whole


class RunOrder(Record, frozen=True, kw_only=True):
    """What a batch is made with, beside its lines. ``key``: told twice, there is one batch."""

    key: str
    metadata: Mapping[str, str]
    endpoint: str
    target: str | None = None
    model: str | None = None
    schema: Any = None  # a JSON schema
    max_attempts: int = 5
    budget_usd: float | None = None


class Fact(Record, frozen=True, kw_only=True):
    """What the ledger knows of one line."""

    attempts: int
    usage: Usage | None = None
    cost_usd: float | None = None


class Piece(Record, frozen=True, kw_only=True):
    """Some lines of a stream, ``cursor`` what to go on from, ``facts`` by custom id as far as the ledger is here."""

    cursor: int
    lines: list[bytes]
    facts: Mapping[str, Fact] = {}


class Backend(Protocol):
    """Batches of runs. Every verb may be repeated after StoreUnavailable."""

    def working(self) -> AbstractAsyncContextManager[None]:
        """Brings what works the batches off, if it is ours to bring; leaving drains it."""
        ...

    async def earlier(self, name: str) -> list[BatchState]:
        """The run's batches so far, newest first."""
        ...

    async def create(self, order: RunOrder, lines: Lines) -> str:
        """Makes a batch of the lines, durable when this returns; its id."""
        ...

    async def cancel(self, batch_id: str) -> None:
        """Asks a batch to end; what was paid for is published."""
        ...

    async def state(self, batch_id: str) -> BatchState: ...

    def lines(self, batch_id: str, stream: Stream, after: int) -> AsyncIterator[Piece]:
        """The lines from the cursor ``after`` on (0 is the beginning)."""
        ...

    def unpublished(self, batch_id: str) -> AsyncIterator[Piece]:
        """Succeeded lines of a live batch that its output does not have yet; changes nothing."""
        ...

    async def changed(self, batch_id: str, timeout_seconds: float) -> None:
        """Returns when the batch may have moved on, at most after so long."""
        ...

    async def unreachable(self, batch_id: str) -> str | None:
        """Why no call has reached its target so far; None if one has, or none was tried."""
        ...

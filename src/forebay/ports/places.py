"""The ports to what lies outside of the store: blobs, targets, tables, and addresses that users name."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from forebay.domain.content import BlobInfo
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.pipeline import StepOutcome, StepWork, TableRef
from forebay.domain.webhook import Delivered, Delivery


class BlobStore(Protocol):
    """Immutable bytes under fresh ids."""

    @property
    def store_id(self) -> str:
        """A constant of this blob store, kept in the job store: a process that finds another one refuses to start."""
        ...

    async def write(self, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """Stores the bytes; durable (file and folder synced) when it returns. Leaves nothing behind if ``chunks``
        raises.
        """
        ...

    def read(self, blob_id: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Streams bytes ``start`` to ``end`` (exclusive). Raises: NotFound."""
        ...

    async def size(self, blob_id: str) -> int:
        """Raises: NotFound."""
        ...

    def local_path(self, blob_id: str) -> Path | None:
        """The file of this machine that the blob is, if it is one: to be read, never to be changed."""
        ...

    async def delete(self, blob_ids: Sequence[str]) -> None:
        """Idempotent."""
        ...

    def older_than(self, written_before: float) -> AsyncIterator[str]:
        """Ids of blobs written before then, for the sweep."""
        ...


class Tables(Protocol):
    """The work of steps over tables (Parquet in blobs): SQL, files, functions. Flat in memory; blobs that it writes
    are durable, and without a reference until an answer names them.
    """

    async def run(self, work: StepWork) -> StepOutcome:
        """Does a step of kind read, sql, python, chunk, dedupe, index, report or write. What it writes outside appears
        whole or not at all; done again it replaces itself.

        Raises: RequestError: final, the step fails with its code; TargetUnavailable, TargetTimeout: try again.
        """
        ...

    async def fingerprint(self, work: StepWork) -> str | None:
        """What a step depends on, or has made, outside of its inputs, as it is now: files read, a function's
        code, files written. Empty: nothing; None: nobody can say, the step is to be run.
        """
        ...

    async def rows(self, table: TableRef, *, limit: int) -> list[dict[str, Any]]:
        """The first rows, as JSON has their values."""
        ...

    async def close(self) -> None: ...


class Notifier(Protocol):
    """Sends signed events to addresses that users name, and to no address that it may not reach."""

    async def check(self, url: str, param: str) -> None:
        """Judges an address as it is registered. Raises: RequestError (`webhook_url_refused`)."""
        ...

    async def send(self, delivery: Delivery) -> Delivered:
        """Signs and posts once, following no redirect; whatever the status, it is returned.

        Raises: TargetUnavailable (nothing was sent), TargetTimeout, TargetFailed.
        """
        ...

    async def close(self) -> None: ...


class StreamSink(Protocol):
    """Where a streaming call puts what it hears: whole SSE events, as the vendor wrote them."""

    async def write(self, text: str) -> None: ...


class Target(Protocol):
    """A place that model work is sent to. One call, one answer; retries and limits are the engine's."""

    @property
    def name(self) -> str: ...

    def serves(self, endpoint: str) -> bool: ...

    async def call(self, call: Call, sink: StreamSink | None = None) -> InferenceResult:
        """Sends the call and returns its 2xx answer; with a ``sink`` the events go there, and the result is their sum.

        Raises: a TargetError. Cancelling the task breaks the call off.
        """
        ...

    async def check(self) -> str:
        """Asks for the least there is and returns one sentence on what answered. Raises: a TargetError."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class SlowTarget(Target, Protocol):
    """A target whose answers may be ``pending``. ``call`` with ``call.pending`` asks how that work stands.

    Then what fails in passing (TargetUnavailable, TargetThrottled, TargetTimeout, TargetFailed) is asked again and uses
    no attempt; RemoteFailed is the end of that work, and TargetRejected the end of the job.
    """

    async def withdraw(self, state: str) -> None:
        """Tells the remote end that the work is not wanted any more; without effect where it can't be told, or has
        ended. Idempotent. Raises: a TargetError.
        """
        ...

"""``forebay.Client``: the same from synchronous code; each call runs the asynchronous one in a loop of its own."""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from forebay.client.asynchronous import AsyncClient
from forebay.client.run_views import RunView
from forebay.client.views import BatchView, EventView, FileView, JobView, ReceiptView

T = TypeVar("T")


class Client:
    """As AsyncClient, blocking. ``with`` closes its connections; without it they close with the last reference."""

    def __init__(self, server: str | None = None, *, api_key: str | None = None) -> None:
        self._client = AsyncClient(server, api_key=api_key)
        self._portal = _Portal(self._client)
        self.jobs = Jobs(self._client, self._portal)
        self.files = Files(self._client, self._portal)
        self.batches = Batches(self._client, self._portal)
        self.events = Events(self._client, self._portal)
        self.runs = Runs(self._client, self._portal)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """May be called twice."""
        self._portal.close()


class Jobs:
    """``client.jobs``; see AsyncJobs."""

    def __init__(self, client: AsyncClient, portal: "_Portal") -> None:
        self._jobs, self._portal = client.jobs, portal

    def submit(self, *, idempotency_key: str | None = None, **fields: Any) -> JobView:
        return self._portal.call(self._jobs.submit(idempotency_key=idempotency_key, **fields))

    def submit_many(self, jobs: Iterable[Mapping[str, Any]]) -> list[str]:
        return self._portal.call(self._jobs.submit_many(jobs))

    def get(self, job_id: str) -> JobView:
        return self._portal.call(self._jobs.get(job_id))

    def wait(self, job_id: str, timeout: float | None = None) -> JobView:
        return self._portal.call(self._jobs.wait(job_id, timeout))

    def as_completed(self, job_ids: Sequence[str], timeout: float | None = None) -> Iterator[JobView]:
        return self._portal.iterate(self._jobs.as_completed(job_ids, timeout))

    def list(self, **filters: Any) -> list[JobView]:
        return self._portal.call(self._jobs.list(**filters))

    def cancel(self, job_id: str) -> JobView:
        return self._portal.call(self._jobs.cancel(job_id))

    def retry(self, job_id: str) -> JobView:
        return self._portal.call(self._jobs.retry(job_id))

    def delete(self, job_id: str) -> None:
        self._portal.call(self._jobs.delete(job_id))


class Files:
    """``client.files``; see AsyncFiles."""

    def __init__(self, client: AsyncClient, portal: "_Portal") -> None:
        self._files, self._portal = client.files, portal

    def create(self, file: str | Path | bytes | IO[bytes], *, purpose: str = "batch", filename: str = "") -> FileView:
        return self._portal.call(self._files.create(file, purpose=purpose, filename=filename))

    def get(self, file_id: str) -> FileView:
        return self._portal.call(self._files.get(file_id))

    def list(self, **filters: Any) -> list[FileView]:
        return self._portal.call(self._files.list(**filters))

    def delete(self, file_id: str) -> None:
        self._portal.call(self._files.delete(file_id))

    def content(self, file_id: str, *, offset: int | None = None) -> Iterator[bytes]:
        return self._portal.iterate(self._files.content(file_id, offset=offset))


class Batches:
    """``client.batches``; see AsyncBatches."""

    def __init__(self, client: AsyncClient, portal: "_Portal") -> None:
        self._batches, self._portal = client.batches, portal

    def create(self, **fields: Any) -> BatchView:
        return self._portal.call(self._batches.create(**fields))

    def get(self, batch_id: str) -> BatchView:
        return self._portal.call(self._batches.get(batch_id))

    def wait(self, batch_id: str, timeout: float | None = None) -> BatchView:
        return self._portal.call(self._batches.wait(batch_id, timeout))

    def list(self, **filters: Any) -> list[BatchView]:
        return self._portal.call(self._batches.list(**filters))

    def cancel(self, batch_id: str) -> BatchView:
        return self._portal.call(self._batches.cancel(batch_id))

    def retry(self, batch_id: str) -> BatchView:
        return self._portal.call(self._batches.retry(batch_id))

    def results(self, batch_id: str) -> Iterator[dict[str, Any]]:
        return self._portal.iterate(self._batches.results(batch_id))


class Events:
    """``client.events``; see AsyncEvents."""

    def __init__(self, client: AsyncClient, portal: "_Portal") -> None:
        self._events, self._portal = client.events, portal

    def send(self, event: Mapping[str, Any]) -> ReceiptView:
        return self._portal.call(self._events.send(event))

    def send_many(self, events: Iterable[Mapping[str, Any]]) -> list[ReceiptView]:
        return self._portal.call(self._events.send_many(events))

    def replay(self, ids: Sequence[str] | None = None, *, unmatched: bool = False) -> list[ReceiptView]:
        return self._portal.call(self._events.replay(ids, unmatched=unmatched))

    def list(self, **filters: Any) -> list[EventView]:
        return self._portal.call(self._events.list(**filters))


class Runs:
    """``client.runs``; see AsyncRuns."""

    def __init__(self, client: AsyncClient, portal: "_Portal") -> None:
        self._runs, self._portal = client.runs, portal

    def start(self, pipeline: str, params: Mapping[str, Any] | None = None, **how: Any) -> RunView:
        return self._portal.call(self._runs.start(pipeline, params, **how))

    def get(self, run_id: str) -> RunView:
        return self._portal.call(self._runs.get(run_id))

    def wait(self, run_id: str, timeout: float | None = None) -> RunView:
        return self._portal.call(self._runs.wait(run_id, timeout))

    def list(self, **filters: Any) -> list[RunView]:
        return self._portal.call(self._runs.list(**filters))

    def cancel(self, run_id: str) -> RunView:
        return self._portal.call(self._runs.cancel(run_id))

    def resume(self, run_id: str, **budget: Any) -> RunView:
        return self._portal.call(self._runs.resume(run_id, **budget))

    def download(self, run_id: str, step: str, path: str | Path, *, stream: str = "table") -> int:
        return self._portal.call(self._runs.download(run_id, step, path, stream=stream))


class _Portal:
    """An event loop in a thread, and the way into it. ``close`` ends both with ``client``'s connections; so does the
    last reference's end, be it that of the interpreter.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forebay-client", daemon=True)
        self._thread.start()
        self.close = weakref.finalize(self, _shut, client, self._loop, self._thread)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def iterate(self, iterator: AsyncIterator[T]) -> Iterator[T]:
        end = object()

        async def following() -> T | object:
            return await anext(iterator, end)

        while (item := self.call(following())) is not end:
            yield item  # type: ignore[misc]  # it is T where it is not `end`


def _shut(client: AsyncClient, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    asyncio.run_coroutine_threadsafe(client.close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()

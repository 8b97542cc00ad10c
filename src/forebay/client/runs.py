"""``client.runs``: begin a pipeline's run, wait for it, list, cancel, resume, fetch what a step made."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from forebay.client.run_views import RunView
from forebay.client.transport import Transport, decoded
from forebay.client.views import Page
from forebay.domain.errors import JobFailed

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0


class AsyncRuns:
    """Runs at one server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def start(
        self, pipeline: str, params: Mapping[str, Any] | None = None, *, idempotency_key: str | None = None, **how: Any
    ) -> RunView:
        """Begins a run. ``how``: ``since``, ``fresh``, ``budget_usd``, and ``from_step``. Raises: NotFound,
        RequestError.

        A broken connection is tried again under one idempotency key, so that it is one run all the same.
        """
        body: dict[str, Any] = {"params": dict(params or {}), **how}
        if "from_step" in body:
            body["from"] = body.pop("from_step")
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        path = f"/v1/pipelines/{pipeline}/runs"
        return await self._transport.call("POST", path, RunView, body=body, headers=headers, is_repeatable=True)

    async def get(self, run_id: str) -> RunView:
        """Raises: NotFound."""
        return await self._transport.call("GET", f"/v1/runs/{run_id}", RunView, is_repeatable=True)

    async def wait(self, run_id: str, timeout: float | None = None) -> RunView:
        """Waits until the run has succeeded. Raises: JobFailed (``.job`` is the run's view), TimeoutError."""
        until, pause = None if timeout is None else time.monotonic() + timeout, FIRST_PAUSE_SECONDS
        while not (run := await self.get(run_id)).is_terminal:
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"{run_id} is {run.status} after {timeout} s; it goes on at the server")
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)
        if run.status != "succeeded":
            reason = f"{run.error.code}: {run.error.message}" if run.error else run.status
            raise JobFailed(f"{run_id} ended {run.status}: {reason}", run)
        return run

    async def list(self, **filters: Any) -> list[RunView]:
        """Newest first: ``pipeline``, ``status``, ``created_after``, ``created_before``, ``limit``, ``after``."""
        params = {name: str(value) for name, value in filters.items() if value is not None}
        page = await self._transport.call("GET", "/v1/runs", Page, params=params, is_repeatable=True)
        return [decoded(item, RunView) for item in page.data]

    async def cancel(self, run_id: str) -> RunView:
        """What its steps have made is kept. Idempotent."""
        return await self._transport.call("POST", f"/v1/runs/{run_id}/cancel", RunView, is_repeatable=True)

    async def resume(self, run_id: str, **budget: Any) -> RunView:
        """Lets a run go on that failed or was cancelled; ``budget_usd``, ``budget_tokens``: larger ones."""
        path = f"/v1/runs/{run_id}/resume"
        return await self._transport.call("POST", path, RunView, body=budget, is_repeatable=True)

    async def download(self, run_id: str, step: str, path: str | Path, *, stream: str = "table") -> int:
        """Writes a step's table (or its ``rejected`` records) to a Parquet file. Returns its bytes."""
        size = 0
        file = await asyncio.to_thread(Path(path).open, "wb")
        try:
            async for chunk in self.read(run_id, step, stream=stream):
                size += await asyncio.to_thread(file.write, chunk)
        finally:
            await asyncio.to_thread(file.close)
        return size

    def read(self, run_id: str, step: str, *, stream: str = "table") -> AsyncIterator[bytes]:
        """The same, as it comes."""
        return self._transport.stream(f"/v1/runs/{run_id}/steps/{step}/{stream}")

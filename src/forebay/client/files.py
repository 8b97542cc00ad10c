"""``client.files`` and ``client.batches``: a file goes in, a file comes out."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import aiohttp

from forebay.client.transport import Transport, decoded
from forebay.client.views import BatchView, FileView, Page

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class AsyncFiles:
    """Files of one server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self, file: str | Path | bytes | IO[bytes], *, purpose: str = "batch", filename: str = ""
    ) -> FileView:
        """Uploads a path, bytes or an open file; a path is streamed."""
        form = aiohttp.FormData()
        form.add_field("purpose", purpose)
        opened = await asyncio.to_thread(Path(file).open, "rb") if isinstance(file, str | Path) else file
        name = filename or (Path(file).name if isinstance(file, str | Path) else "upload.jsonl")
        try:
            form.add_field("file", opened, filename=name, content_type="application/octet-stream")
            headers = {"Idempotency-Key": uuid.uuid4().hex}
            answer = await self._transport.send("POST", "/v1/files", data=form, headers=headers)
        finally:
            if isinstance(file, str | Path) and not isinstance(opened, bytes | str | Path):
                opened.close()
        return decoded(answer, FileView)

    async def get(self, file_id: str) -> FileView:
        return await self._transport.call("GET", f"/v1/files/{file_id}", FileView, is_repeatable=True)

    async def list(self, **filters: Any) -> list[FileView]:
        params = {name: str(value) for name, value in filters.items()}
        page = await self._transport.call("GET", "/v1/files", Page, params=params, is_repeatable=True)
        return [decoded(item, FileView) for item in page.data]

    async def delete(self, file_id: str) -> None:
        await self._transport.send("DELETE", f"/v1/files/{file_id}")

    def content(self, file_id: str, *, offset: int | None = None) -> AsyncIterator[bytes]:
        """Streams the bytes; with ``offset`` from that line on, also while the batch still runs."""
        params = None if offset is None else {"offset": str(offset)}
        return self._transport.stream(f"/v1/files/{file_id}/content", params)


class AsyncBatches:
    """Batches of one server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self,
        *,
        input_file_id: str,
        endpoint: str = "/v1/chat/completions",
        completion_window: str = "24h",
        metadata: dict[str, str] | None = None,
    ) -> BatchView:
        """Starts a batch over an uploaded file."""
        body = {
            "input_file_id": input_file_id,
            "endpoint": endpoint,
            "completion_window": completion_window,
            "metadata": metadata,
        }
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return await self._transport.call(
            "POST", "/v1/batches", BatchView, body=body, headers=headers, is_repeatable=True
        )

    async def get(self, batch_id: str) -> BatchView:
        return await self._transport.call("GET", f"/v1/batches/{batch_id}", BatchView, is_repeatable=True)

    async def wait(self, batch_id: str, timeout: float | None = None) -> BatchView:
        """Waits for any terminal state. Raises: TimeoutError."""
        until = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_PAUSE_SECONDS
        while not (batch := await self.get(batch_id)).is_terminal:
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"{batch_id} is {batch.status} after {timeout} s; it goes on at the server")
            await asyncio.sleep(pause if until is None else min(pause, max(until - time.monotonic(), 0.01)))
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
        return batch

    async def list(self, **filters: Any) -> list[BatchView]:
        params = {name: str(value) for name, value in filters.items()}
        page = await self._transport.call("GET", "/v1/batches", Page, params=params, is_repeatable=True)
        return [decoded(item, BatchView) for item in page.data]

    async def cancel(self, batch_id: str) -> BatchView:
        """Raises: Conflict: it has ended otherwise."""
        return await self._transport.call("POST", f"/v1/batches/{batch_id}/cancel", BatchView)

    async def retry(self, batch_id: str) -> BatchView:
        """Makes a new batch of the failed, expired and cancelled lines."""
        return await self._transport.call("POST", f"/v1/batches/{batch_id}/retry", BatchView)

    async def results(self, batch_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yields the output lines, those of failed requests included, as they stand."""
        rest = b""
        async for chunk in self._transport.stream(f"/v1/batches/{batch_id}/results"):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    yield decoded(line, dict[str, Any])
        if rest:
            yield decoded(rest, dict[str, Any])

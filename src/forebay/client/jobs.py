"""``client.jobs``: submit, wait, list, cancel, retry."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from forebay.client.pushed import PushRefused, pushed
from forebay.client.transport import Transport, decoded
from forebay.client.views import JobView, Page
from forebay.domain.errors import JobFailed, RequestError

LONGEST_WAIT_SECONDS = 60.0  # the server's bound on one long poll
PAUSE_SECONDS = 0.5
BULK_LINES = 1_000


class _Line(msgspec.Struct, frozen=True):
    id: str | None = None
    error: dict[str, Any] | None = None


class AsyncJobs:
    """Jobs of one server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def submit(self, *, idempotency_key: str | None = None, **fields: Any) -> JobView:
        """Hands in one job: the fields of ``POST /v1/jobs`` (``model``, ``body``, ``target``, ``deadline`` …).

        A broken connection is tried again under one idempotency key, so that it is one job all the same.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return await self._transport.call("POST", "/v1/jobs", JobView, body=fields, headers=headers, is_repeatable=True)

    async def submit_many(self, jobs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Hands in many; returns their ids in order. Raises: RequestError: a line was refused; the others are in."""
        ids: list[str] = []
        pending: list[bytes] = []
        for job in jobs:
            pending.append(msgspec.json.encode({"idempotency_key": uuid.uuid4().hex, **job}))
            if len(pending) == BULK_LINES:
                ids += await _bulk(self._transport, pending)
                pending = []
        return ids + (await _bulk(self._transport, pending) if pending else [])

    async def get(self, job_id: str) -> JobView:
        """Raises: NotFound."""
        return await self._transport.call("GET", f"/v1/jobs/{job_id}", JobView, is_repeatable=True)

    async def wait(self, job_id: str, timeout: float | None = None) -> JobView:
        """Waits until the job has succeeded. Raises: JobFailed (``.job`` is the view), TimeoutError."""
        job = await self._ended(job_id, timeout)
        if job.status != "succeeded":
            reason = f"{job.error.code}: {job.error.message}" if job.error else job.status
            raise JobFailed(f"{job_id} ended {job.status}: {reason}", job)
        return job

    async def as_completed(self, job_ids: Sequence[str], timeout: float | None = None) -> AsyncIterator[JobView]:
        """Yields each job's view once, as it ends, whatever its end. Raises: TimeoutError.

        The ends are pushed on one WebSocket; where there is none, each job is asked for by itself.
        """
        left = dict.fromkeys(job_ids)
        until = None if timeout is None else time.monotonic() + timeout
        ends = pushed(self._transport, list(left))
        try:
            while left:
                async with asyncio.timeout(None if until is None else max(0.0, until - time.monotonic())):
                    job = await anext(ends)
                del left[job.id]
                yield job
        except TimeoutError:
            message = f"{len(left)} of {len(job_ids)} jobs are live after {timeout} s; they go on at the server"
            raise TimeoutError(message) from None
        except PushRefused:
            remaining = None if until is None else max(0.0, until - time.monotonic())
            async for job in self._polled(list(left), remaining):
                yield job
        finally:
            await ends.aclose()

    async def _polled(self, job_ids: Sequence[str], timeout: float | None) -> AsyncIterator[JobView]:
        waiting = [asyncio.create_task(self._ended(job_id, timeout)) for job_id in job_ids]
        try:
            for ended in asyncio.as_completed(waiting):
                yield await ended
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def list(self, **filters: Any) -> list[JobView]:
        """One page, newest first; filters as in ``GET /v1/jobs``."""
        page = await self._transport.call("GET", "/v1/jobs", Page, params=_as_params(filters), is_repeatable=True)
        return [decoded(item, JobView) for item in page.data]

    async def cancel(self, job_id: str) -> JobView:
        return await self._transport.call("POST", f"/v1/jobs/{job_id}/cancel", JobView, is_repeatable=True)

    async def retry(self, job_id: str) -> JobView:
        """Puts a dead job back. Raises: Conflict: it is not dead."""
        return await self._transport.call("POST", f"/v1/jobs/{job_id}/retry", JobView)

    async def delete(self, job_id: str) -> None:
        """Erases an ended job's body and result. Raises: Conflict: it is live."""
        await self._transport.send("DELETE", f"/v1/jobs/{job_id}")

    async def _ended(self, job_id: str, timeout: float | None) -> JobView:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            remaining = LONGEST_WAIT_SECONDS if until is None else until - time.monotonic()
            wait = max(0.0, min(remaining, LONGEST_WAIT_SECONDS))
            params = {"wait": f"{wait:.3f}"}
            job = await self._transport.call("GET", f"/v1/jobs/{job_id}", JobView, params=params, is_repeatable=True)
            if job.is_terminal:
                return job
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"{job_id} is {job.status} after {timeout} s; it goes on at the server")


def _as_params(filters: Mapping[str, Any]) -> dict[str, str]:
    params: dict[str, str] = {}
    for name, value in filters.items():
        if name == "metadata":
            params |= {f"metadata[{key}]": str(item) for key, item in dict(value).items()}
        elif value is not None:
            params[name] = str(value)
    return params


async def _bulk(transport: Transport, lines: list[bytes]) -> list[str]:
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await transport.send("POST", "/v1/jobs/bulk", data=b"\n".join(lines), headers=headers, is_repeatable=True)
    replies = [decoded(line, _Line) for line in answer.splitlines() if line]
    refused = next((reply.error for reply in replies if reply.error), None)
    if refused is not None:
        raise RequestError(str(refused.get("message")), code=refused.get("code"), param=refused.get("param"))
    return [reply.id for reply in replies if reply.id]

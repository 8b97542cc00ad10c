"""`forebay run --server`: the batches of a run on a server, over its public API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from forebay.client.transport import Transport
from forebay.domain.attempt import Usage
from forebay.domain.batch import batch_id, job_id_of
from forebay.domain.errors import ConfigurationError, Conflict, NotFound
from forebay.policy.resolution import CHAT, normal_endpoint
from forebay.runs.backend import (
    RUN_FRESH,
    RUN_HOST,
    RUN_NAME,
    RUN_REQUESTS,
    Backend,
    BatchState,
    Lines,
    Piece,
    RunOrder,
    Stream,
)
from forebay.runs.local import split_lines
from forebay.runs.options import DEFAULT_MAX_ATTEMPTS, RunOptions
from forebay.runs.place import Place
from forebay.settings import Settings

LIVE = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
WINDOW = "30d"
BUDGET = "forebay_budget_usd"
PAGE = 1000
POLL_SECONDS = 0.5
FILES = {Stream.OUTPUT: "output_file_id", Stream.ERRORS: "error_file_id"}


class ServerSite:
    """A server. It has the targets, the store and the workers."""

    def __init__(self, url: str, api_key: str | None, settings: Settings) -> None:
        self._url = url
        self._api_key = api_key
        self._settings = settings

    def choose(self, options: RunOptions, *, names_models: bool) -> Place:
        refused = {
            "--target": options.target,
            "--base-url": options.base_url,
            "--concurrency": options.concurrency,
            "--max-attempts": None if options.max_attempts == DEFAULT_MAX_ATTEMPTS else options.max_attempts,
        }
        for option, value in refused.items():
            if value is not None:
                raise ConfigurationError(f"{option} is for runs on this machine; with --server, the server decides it")
        model = options.request.model
        if model is None and not names_models:
            model = asyncio.run(self._only_model())
        return Place(
            settings=self._settings,
            target=None,
            model=model,
            endpoint=normal_endpoint(options.request.endpoint or CHAT),
            serving=frozenset(),
            identity=self._url,
        )

    @asynccontextmanager
    async def connect(self, place: Place, options: RunOptions, *, is_dry: bool = False) -> AsyncIterator[Backend]:
        del place, options, is_dry  # a server needs none of it
        transport = Transport(self._url, self._api_key)
        try:
            yield ServerBatches(transport)
        finally:
            await transport.close()

    async def _only_model(self) -> str:
        transport = Transport(self._url, self._api_key)
        try:
            listed = msgspec.json.decode(await transport.send("GET", "/v1/models", is_repeatable=True))
        finally:
            await transport.close()
        names = [str(model["id"]) for model in listed["data"]]
        if len(names) != 1:
            raise ConfigurationError(f"Say which model: --model with one of {', '.join(names) or 'none there'}")
        return names[0]


class ServerBatches:
    """A Backend over HTTP."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._uploaded: dict[str, str] = {}  # files by the key of their order

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        yield  # the server's workers do it

    async def earlier(self, name: str) -> list[BatchState]:
        found: list[dict[str, Any]] = []
        params = {"kind": "batch", f"metadata[{RUN_NAME}]": name, "limit": str(PAGE)}
        while True:
            page = await self._get("/v1/jobs", params)
            found += page["data"]
            if not page.get("has_more"):
                return [await self.state(batch_id(job["id"])) for job in found]
            params["after"] = found[-1]["id"]

    async def create(self, order: RunOrder, lines: Lines) -> str:
        if order.key not in self._uploaded:
            self._uploaded[order.key] = await self._upload(lines)
        file_id = self._uploaded[order.key]
        metadata = dict(order.metadata)
        if order.budget_usd is not None:
            metadata[BUDGET] = str(order.budget_usd)
        body = {"input_file_id": file_id, "endpoint": order.endpoint, "completion_window": WINDOW}
        headers = {"Content-Type": "application/json", "Idempotency-Key": order.key}
        data = msgspec.json.encode({**body, "metadata": metadata})
        answer = await self._transport.send("POST", "/v1/batches", data=data, headers=headers, is_repeatable=True)
        return str(msgspec.json.decode(answer)["id"])

    async def _upload(self, lines: Lines) -> str:
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        payload = aiohttp.AsyncIterablePayload(lines(), content_type="application/jsonl")
        form.add_field("file", payload, filename="run.jsonl", content_type="application/jsonl")
        return str(msgspec.json.decode(await self._transport.send("POST", "/v1/files", data=form))["id"])

    async def cancel(self, batch_id: str) -> None:
        try:
            await self._transport.send("POST", f"/v1/batches/{batch_id}/cancel", is_repeatable=True)
        except Conflict:
            return  # it has ended meanwhile

    async def state(self, batch_id: str) -> BatchState:
        batch = await self._get(f"/v1/batches/{batch_id}")
        job = await self._get(f"/v1/jobs/{job_id_of(batch_id)}")
        counts, metadata = batch.get("request_counts") or {}, batch.get("metadata") or {}
        return BatchState(
            id=batch_id,
            requests=metadata.get(RUN_REQUESTS, ""),
            is_live=batch["status"] in LIVE,
            is_fresh=RUN_FRESH in metadata,
            host=metadata.get(RUN_HOST, ""),
            succeeded=counts.get("completed", 0),
            failed=counts.get("failed", 0),
            usage=_usage(job.get("usage")),
            cost_usd=job.get("cost_usd"),
            problem=_problem(batch),
        )

    async def lines(self, batch_id: str, stream: Stream, after: int) -> AsyncIterator[Piece]:
        batch = await self._get(f"/v1/batches/{batch_id}")
        file_id = batch.get(FILES[stream])
        if file_id is None or (stream is Stream.ERRORS and batch["status"] in LIVE):
            return
        cursor = after
        content = self._transport.stream(f"/v1/files/{file_id}/content", {"offset": str(after)})
        try:
            async for lines in split_lines(content):
                cursor += len(lines)
                yield Piece(cursor=cursor, lines=lines)
        except NotFound:
            return  # there is no line in it yet

    async def unpublished(self, batch_id: str) -> AsyncIterator[Piece]:
        path = f"/v1/batches/{batch_id}/results"
        try:
            async for lines in split_lines(self._transport.stream(path)):
                yield Piece(cursor=0, lines=lines)
        except NotFound:
            return  # it has no line yet

    async def changed(self, batch_id: str, timeout_seconds: float) -> None:
        del batch_id
        await asyncio.sleep(min(timeout_seconds, POLL_SECONDS))

    async def unreachable(self, batch_id: str) -> str | None:
        del batch_id
        return None  # the server's own matter: it waits

    async def _get(self, path: str, params: dict[str, str] | None = None) -> dict[str, Any]:
        answer = await self._transport.send("GET", path, params=params, is_repeatable=True)
        view: dict[str, Any] = msgspec.json.decode(answer)
        return view


def _usage(view: dict[str, int] | None) -> Usage | None:
    if view is None:
        return None
    known = Usage.__struct_fields__
    return Usage(**{name: number for name, number in view.items() if name in known})


def _problem(batch: dict[str, Any]) -> str | None:
    if batch["status"] in LIVE or batch["status"] == "completed":
        return None
    listed = (batch.get("errors") or {}).get("data") or []
    return str(listed[0]["message"]) if listed else f"The batch {batch['id']} is {batch['status']}"

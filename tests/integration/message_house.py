"""A running installation for tests of Anthropic's wire: server, store, worker, official clients, a gated upstream."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from anthropic import AsyncAnthropic
from anthropic.types.messages import MessageBatch
from openai import AsyncOpenAI

from forebay.api.server import serve
from forebay.app import System, open_system
from forebay.domain.target import Limits, TargetSpec, TargetType
from forebay.settings import Settings, StoreSettings

PATIENCE_SECONDS = 120.0
MODEL = "claude-here"
ASK: Any = [{"role": "user", "content": "hello"}]


def params(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 9, "messages": ASK, **fields}


def entry(custom_id: str, **fields: Any) -> Any:
    return {"custom_id": custom_id, "params": params(**fields)}


@dataclass
class Received:
    """A call as the upstream saw it."""

    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Upstream:
    """Both vendors' model: it answers when its gate is open, and keeps what it was sent."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[Received] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 200
    error_body: dict[str, Any] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(Received(request.path, request.rel_url.raw_query_string, headers, body))
        self.came.set()
        await self.gate.wait()
        if self.status != 200:
            return web.json_response(self.error_body, status=self.status)
        if request.path.endswith("/count_tokens"):
            return web.json_response({"input_tokens": 7})
        if request.path.endswith("/images/edits"):
            return web.json_response({"created": 1, "data": [{"b64_json": "aW1n"}]})
        if b'name="stream"\r\n\r\ntrue' in body:
            return await _transcript(request)
        if request.path.endswith("/audio/transcriptions"):
            return web.json_response({"text": "spoken words"})
        content = [{"type": "text", "text": "hi"}]
        usage = {"input_tokens": 3, "output_tokens": 2}
        answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": content}
        return web.json_response({**answer, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage})


@dataclass
class House:
    """What a test needs at hand."""

    url: str
    system: System
    http: aiohttp.ClientSession
    claude: AsyncAnthropic
    openai: AsyncOpenAI
    upstream: Upstream

    async def until(self, batch_id: str, status: str = "ended") -> MessageBatch:
        """Waits for the batch's status, woken by the store."""
        watch = self.system.services.jobs.watch([f"job:{batch_id.replace('msgbatch_', 'job_')}"])
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (batch := await self.claude.messages.batches.retrieve(batch_id)).processing_status != status:
                    await watch.next(0.5)
        finally:
            watch.close()
        return batch

    async def results(self, batch_id: str) -> dict[str, Any]:
        lines = await self.claude.messages.batches.results(batch_id)
        return {line.custom_id: line.result async for line in lines}

    async def post(self, path: str, status: int, **options: Any) -> Any:
        async with self.http.post(path, **options) as reply:
            assert reply.status == status, await reply.text()
            return await reply.json()


@asynccontextmanager
async def running_house(
    folder: Path,
    *,
    is_working: bool = True,
    is_open: bool = True,
    concurrency: int | None = None,
    store_url: str | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        upstream = Upstream()
        if is_open:
            upstream.gate.set()
        base = await stack.enter_async_context(_serving(upstream))
        limits = Limits(concurrency=concurrency)
        specs: Sequence[TargetSpec] = (
            TargetSpec(
                name="claude",
                type=TargetType.ANTHROPIC,
                base_url=base,
                api_key="up-key",
                models=(MODEL,),
                limits=limits,
            ),
            TargetSpec(name="gpt", type=TargetType.OPENAI, base_url=base, api_key="up-key", models=("gpt-here",)),
        )
        place = StoreSettings(url=store_url or "sqlite", path=None if store_url else folder / "forebay.db")
        configured = Settings(store=place, blobs=folder / "blobs", targets=tuple(specs), **settings)
        system = await stack.enter_async_context(open_system(configured))
        if is_working:
            await stack.enter_async_context(system.worker())
        stack.callback(upstream.gate.set)  # before the worker's end, which waits for its calls
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(system, port=0, ready=started.set_result))
        await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
        url = started.result() if started.done() else str(await serving)
        try:
            http = await stack.enter_async_context(aiohttp.ClientSession(url))
            claude = AsyncAnthropic(base_url=url, api_key="any", max_retries=0)
            gpt = AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
            await stack.enter_async_context(claude)
            await stack.enter_async_context(gpt)
            yield House(url=url, system=system, http=http, claude=claude, openai=gpt, upstream=upstream)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def _serving(upstream: Upstream) -> AsyncIterator[str]:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{tail:.*}", upstream.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _transcript(request: web.Request) -> web.StreamResponse:
    """A transcription in pieces."""
    reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await reply.prepare(request)
    events = ({"type": "transcript.text.delta", "delta": "spoken "}, {"type": "transcript.text.done", "text": "spoken"})
    for event in events:
        await reply.write(f"data: {json.dumps(event)}\n\n".encode())
    return reply

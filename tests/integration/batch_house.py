"""A running installation for the tests of batches and files: server, store, worker, mock model, official client."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from openai import AsyncOpenAI
from openai.types import Batch

from forebay.api.server import serve
from forebay.app import System, open_system
from forebay.domain.target import TargetSpec, TargetType
from forebay.settings import Settings, StoreSettings
from forebay.testing.mock_model import MockModel, MockOptions

PATIENCE_SECONDS = 120.0
CHAT = "/v1/chat/completions"
TERMINAL = {"completed", "failed", "expired", "cancelled"}


@dataclass
class House:
    """What a test needs at hand."""

    url: str
    system: System
    http: aiohttp.ClientSession
    openai: AsyncOpenAI

    async def upload(self, data: bytes, purpose: str = "batch") -> str:
        file = await self.openai.files.create(file=("requests.jsonl", data), purpose=purpose)
        return file.id

    async def batch(self, data: bytes, **options: Any) -> Batch:
        file_id = await self.upload(data)
        return await self.openai.batches.create(
            input_file_id=file_id, endpoint=CHAT, completion_window="24h", **options
        )

    async def ended(self, batch_id: str) -> Batch:
        """Waits for the batch's end, woken by the store."""
        watch = self.system.services.jobs.watch([f"job:{batch_id.replace('batch_', 'job_')}"])
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (batch := await self.openai.batches.retrieve(batch_id)).status not in TERMINAL:
                    await watch.next(0.5)
        finally:
            watch.close()
        return batch

    async def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        assert file_id is not None
        content = await self.openai.files.content(file_id)
        return [json.loads(line) for line in content.text.splitlines()]


@asynccontextmanager
async def running_house(
    folder: Path, options: MockOptions | None = None, *, is_working: bool = True, **settings: Any
) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        mock = await stack.enter_async_context(MockModel(options))
        spec = TargetSpec(name="mock", type=TargetType.OPENAI, base_url=mock.base_url, models=("mock",))
        place = StoreSettings(url="sqlite", path=folder / "forebay.db")
        configured = Settings(store=place, targets=(spec,), **{"blobs": folder / "blobs", **settings})
        system = await stack.enter_async_context(open_system(configured))
        if is_working:
            await stack.enter_async_context(system.worker())
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(system, port=0, ready=started.set_result))
        await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
        url = started.result() if started.done() else str(await serving)
        try:
            http = await stack.enter_async_context(aiohttp.ClientSession(url))
            client = AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
            yield House(url=url, system=system, http=http, openai=await stack.enter_async_context(client))
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def request(custom_id: str, text: str = "hello", *, model: str = "mock") -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}).encode() + b"\n"

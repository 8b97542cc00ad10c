"""``kill -9`` at random under jobs and a batch: nothing is lost, and nothing is sent twice but what was in flight."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from .processes import Running, start, started

SEED = 20261121
ROUNDS = 4
JOBS_PER_ROUND = 150
BATCH_LINES = 400
FINISH_SECONDS = 90
CONFIGURATION = """
store: sqlite:///forebay.db
targets:
  mock: {{type: openai, base_url: "{mock}/v1", models: [mock], limits: {{concurrency: 32}}}}
"""


def job(name: str) -> dict[str, Any]:
    body = {"model": "mock", "messages": [{"role": "user", "content": name}]}
    return {"target": "mock", "body": body, "idempotency_key": name}


def batch_file() -> bytes:
    lines = [
        {
            "custom_id": f"line-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "mock", "messages": [{"role": "user", "content": f"line {number}"}]},
        }
        for number in range(BATCH_LINES)
    ]
    return b"\n".join(json.dumps(line).encode() for line in lines)


class Client:
    """A client that repeats what was not acknowledged, under the same key."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.accepted: dict[str, str] = {}

    async def submit(self, server: str, names: list[str]) -> None:
        """Submits until the server is gone."""
        for name in names:
            if name in self.accepted:
                continue
            try:
                async with self._session.post(f"{server}/v1/jobs", json=job(name)) as reply:
                    assert reply.status == 202, await reply.text()
                    self.accepted[name] = (await reply.json())["id"]
            except aiohttp.ClientError:
                return

    async def start_batch(self, server: str) -> str:
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", batch_file(), filename="lines.jsonl")
        async with self._session.post(f"{server}/v1/files", data=form) as reply:
            file_id = (await reply.json())["id"]
        body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        async with self._session.post(f"{server}/v1/batches", json=body) as reply:
            assert reply.status == 200, await reply.text()
            return str((await reply.json())["id"])

    async def get(self, url: str) -> Any:
        async with self._session.get(url) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    async def lines(self, url: str) -> list[Any]:
        async with self._session.get(url) as reply:
            assert reply.status == 200, await reply.text()
            return [json.loads(line) for line in (await reply.text()).splitlines()]


@pytest.mark.timeout(240)
async def test_random_kills_lose_nothing_and_repeat_only_what_was_in_flight(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    names = [f"job {number}" for number in range(ROUNDS * JOBS_PER_ROUND)]
    async with (
        started("mock-model", "--port", "0", "--latency-ms", "20", folder=tmp_path) as mock,
        aiohttp.ClientSession() as session,
    ):
        (tmp_path / "forebay.yaml").write_text(CONFIGURATION.format(mock=mock.address.removesuffix("/v1")))
        client = Client(session)
        batch_id = ""
        for number in range(ROUNDS):
            server = await start("serve", "--port", "0", folder=tmp_path)
            if not batch_id:
                batch_id = await client.start_batch(server.address)
            upto = names[: (number + 1) * JOBS_PER_ROUND]
            submitting = asyncio.create_task(client.submit(server.address, upto))
            await asyncio.wait([submitting], timeout=chance.uniform(0.1, 1.5))
            await server.kill()
            await submitting
        server = await start("serve", "--port", "0", folder=tmp_path)
        try:
            await client.submit(server.address, names)
            await _finish(client, server, batch_id)
            await _check(client, server.address, mock.address, batch_id, names)
        finally:
            assert await server.terminate() == 0


async def _finish(client: Client, server: Running, batch_id: str) -> None:
    async with asyncio.timeout(FINISH_SECONDS):
        for job_id in client.accepted.values():
            while True:
                view = await client.get(f"{server.address}/v1/jobs/{job_id}?wait=30")
                if view["status"] in {"succeeded", "failed", "cancelled"}:
                    break
        while (await client.get(f"{server.address}/v1/batches/{batch_id}"))["status"] != "completed":
            await asyncio.sleep(0.05)


async def _check(client: Client, server: str, mock: str, batch_id: str, names: list[str]) -> None:
    calls = (await client.get(f"{mock.removesuffix('/v1')}/mock/calls?ids=1"))["by_job_id"]
    assert set(client.accepted) == set(names)
    assert len(set(client.accepted.values())) == len(names), "two keys never share a job, nor one key two"
    for name, job_id in client.accepted.items():
        view = await client.get(f"{server}/v1/jobs/{job_id}")
        assert view["status"] == "succeeded", view
        assert name in json.dumps(view["result"]), "the answer is this job's own"
        outcomes = [attempt["outcome"] for attempt in view["attempts"]]
        assert outcomes.count("succeeded") == 1
        assert calls.get(job_id, 0) <= len(outcomes), "every call stands in the ledger"
        repeats = [outcome for outcome in outcomes if outcome != "succeeded"]
        assert set(repeats) <= {"unknown"}, "only what was in flight at a kill is sent again"
    batch = await client.get(f"{server}/v1/batches/{batch_id}")
    counts = batch["request_counts"]
    assert counts == {"total": BATCH_LINES, "completed": BATCH_LINES, "failed": 0}
    output = await client.lines(f"{server}/v1/files/{batch['output_file_id']}/content")
    assert sorted(line["custom_id"] for line in output) == sorted(f"line-{n}" for n in range(BATCH_LINES))
    for line in output:
        text = line["custom_id"].replace("-", " ")
        assert text in json.dumps(line["response"]["body"])

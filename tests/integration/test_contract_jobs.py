"""What an audit with public clients found at ``/v1/jobs`` and the model endpoints, and how it should be."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.api_server import CHAT, Server, running_server

STREAMED = {**CHAT, "stream": True}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def test_an_erased_job_is_not_sent_again_empty(server: Server) -> None:
    job_id = (await server.submit())["id"]
    await server.hand.fail(await server.hand.take())
    async with server.http.delete(f"/v1/jobs/{job_id}") as reply:
        assert reply.status == 200
    refused = await server.post(f"/v1/jobs/{job_id}/retry", 409)
    assert refused["error"]["code"] == "erased"
    outcome = await server.post("/v1/dead-letters/retry", json={"all": True})
    assert (outcome["retried"], outcome["data"][0]["error"]["code"]) == (0, "erased")
    assert (await server.get(f"/v1/jobs/{job_id}"))["status"] == "failed"


async def test_a_filter_by_duration_looks_back(server: Server) -> None:
    first = (await server.submit())["id"]
    server.clock.advance(3600)
    second = (await server.submit())["id"]
    assert [second] == [job["id"] for job in (await server.get("/v1/jobs?created_after=15m"))["data"]]
    assert [first] == [job["id"] for job in (await server.get("/v1/jobs?created_before=15m"))["data"]]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/jobs/", {"body": CHAT}),
        ("/v1/jobs/", CHAT),
        ("/v1/jobs/job_1/retyr", CHAT),
        ("/v1/batches/batch_1/retries", CHAT),
        ("/v1/files/file-1/contents", CHAT),
        ("/v1/unheard/of", {}),
        ("/unheard", {"x": 1}),
        ("/v1/chat/completions/", CHAT),
    ],
)
async def test_a_misspelt_path_is_nothing_and_is_sent_to_no_target(
    server: Server, path: str, body: dict[str, object]
) -> None:
    refused = await server.post(path, 404, json=body)
    assert refused["error"]["code"] == "not_found"
    assert (await server.get("/v1/jobs"))["data"] == []


async def test_a_model_endpoint_that_only_the_target_knows_is_passed_on(server: Server) -> None:
    async with server.http.post("/v1/rerank", json=CHAT, headers={"prefer": "respond-async"}) as reply:
        assert (reply.status, (await reply.json())["endpoint"]) == (202, "/v1/rerank")
    claimed = await server.hand.take()
    assert json.loads(claimed.job.body.text if claimed.job.body and claimed.job.body.text else "null") == CHAT


async def test_a_stream_that_begins_within_the_preferred_wait_is_streamed(server: Server) -> None:
    headers = {"prefer": "respond-async, wait=20"}
    asking = asyncio.create_task(server.http.post("/v1/chat/completions", json=STREAMED, headers=headers))
    claimed = await server.hand.take()
    await server.hand.say(claimed, "data: 1\n\n")
    async with await asking as reply:
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        assert reply.headers["preference-applied"] == "respond-async, wait=20"
        await server.hand.say(claimed, "data: 2\n\n")
        await server.hand.succeed(claimed)
        assert await reply.text() == "data: 1\n\ndata: 2\n\n"


async def test_a_stream_that_does_not_begin_within_the_preferred_wait_is_a_job(server: Server) -> None:
    headers = {"prefer": "respond-async, wait=1"}
    async with server.http.post("/v1/chat/completions", json=STREAMED, headers=headers) as reply:
        job = await reply.json()
        assert (reply.status, reply.headers["location"]) == (202, f"/v1/jobs/{job['id']}")

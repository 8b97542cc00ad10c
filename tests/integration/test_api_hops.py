"""How many events led to a request is heeded on every way in by which work comes."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

from forebay.domain.batch import args_of
from forebay.domain.infer_args import infer_args
from forebay.domain.query import JobQuery
from tests.integration.api_server import CHAT, Server, running_server
from tests.integration.socket_client import open_socket

AFTER = {"forebay-hops": "3"}
WRONG = {"forebay-hops": "many"}
ASYNC = {"prefer": "respond-async"}
JOB = {"target": "gpt", "body": CHAT}
SUBMIT = 'mutation { submit(input: {target: "gpt", body: {messages: []}}) { id } }'


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def hops(server: Server) -> list[int]:
    """Of all jobs, the oldest first."""
    jobs = await server.services.jobs.find(JobQuery(tenant="default", is_ascending=True))
    return [infer_args(job.spec.args).hops for job in jobs]


@pytest.mark.parametrize(
    ("path", "body", "status", "refused"),
    [
        ("/v1/jobs", JOB, 202, 400),
        ("/v1/chat/completions", CHAT, 202, 400),
        ("/v1/responses", {"model": "gpt-model", "input": "hi"}, 202, 400),
        ("/v1/responses", {"model": "gpt-model", "input": "hi", "background": True}, 200, 400),
        ("/graphql", {"query": SUBMIT}, 200, 400),
    ],
)
async def test_a_request_tells_it_in_a_header(
    server: Server, path: str, body: dict[str, Any], status: int, refused: int
) -> None:
    await server.post(path, status, json=body, headers={**AFTER, **ASYNC})
    assert await hops(server) == [3]
    await server.post(path, refused, json=body, headers={**WRONG, **ASYNC})
    assert await hops(server) == [3]


async def test_a_batch_tells_its_lines(server: Server) -> None:
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", json.dumps(line).encode(), filename="input.jsonl")
    async with server.http.post("/v1/files", data=form) as reply:
        file_id = (await reply.json())["id"]
    order = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    await server.post("/v1/batches", 200, json=order, headers=AFTER)
    message = {
        "custom_id": "1",
        "params": {"model": "claude-3", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]},
    }
    await server.post("/v1/messages/batches", 200, json={"requests": [message]}, headers=AFTER)
    jobs = await server.services.jobs.find(JobQuery(tenant="default"))
    assert [args_of(job.spec.args).hops for job in jobs] == [3, 3]
    await server.post("/v1/batches", 400, json=order, headers=WRONG)


async def test_a_socket_tells_it_in_its_handshake_or_with_each_submission(server: Server) -> None:
    async with open_socket(server.url, additional_headers=AFTER) as socket:
        await socket.submit("a", **JOB)
        await socket.say("submit", ref="b", job=JOB, hops=5)
        assert (await socket.hear())["type"] == "accepted"
        await socket.say("submit", ref="c", job=JOB, hops=-1)
        assert (await socket.hear())["type"] == "error"
    assert await hops(server) == [3, 5]
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(server.url, additional_headers=WRONG):
            pass
    assert caught.value.response.status_code == 400


async def test_the_description_has_the_header(server: Server) -> None:
    paths = (await server.get("/openapi.json"))["paths"]
    described = {
        path
        for path, methods in paths.items()
        if any(one.get("name") == "forebay-hops" for one in methods.get("post", {}).get("parameters", ()))
    }
    assert described >= {
        "/v1/jobs",
        "/v1/jobs/bulk",
        "/v1/events",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/batches",
        "/v1/messages/batches",
        "/v1/pipelines/{name}/runs",
    }

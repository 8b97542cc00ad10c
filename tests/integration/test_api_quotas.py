"""What a tenant may hand in: jobs that have not ended, and requests a minute; by line, on every wire."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.tenant import TenantSpec
from tests.integration.api_server import CHAT, Server, running_server
from tests.integration.test_api_key_gate import bearer, make_key

TENANTS = {
    "full": TenantSpec(max_queued=3),
    "slow": TenantSpec(requests_per_minute=2),
    "modest": TenantSpec(max_priority=0),
}
MESSAGE = {"model": "claude-3", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
JOB = {"body": CHAT}
EVENT = {"id": "1", "source": "shop", "detail-type": "made", "detail": {}}
RULE = {"name": "r", "pattern": {"source": ["shop"]}, "send": {"copy": {"target": "gpt", "body": CHAT}}}
AGAIN = re.compile(r"send it again in \d+ s\b")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path, tenants=TENANTS) as running:
        yield running


@pytest.fixture
async def full(server: Server) -> dict[str, str]:
    return bearer(await make_key(server, tenant="full"))


@pytest.fixture
async def slow(server: Server) -> dict[str, str]:
    return bearer(await make_key(server, tenant="slow"))


async def refused(server: Server, path: str, body: Any, headers: dict[str, str]) -> tuple[dict[str, Any], int]:
    async with server.http.post(path, json=body, headers=headers) as reply:
        assert reply.status == 429, await reply.text()
        return await reply.json(), int(reply.headers["retry-after"])


async def test_a_tenant_has_no_more_live_jobs_than_it_may(server: Server, full: dict[str, str]) -> None:
    for _ in range(3):
        await server.post("/v1/jobs", 202, json=JOB, headers=full)
    for path in ("/v1/jobs", "/v1/chat/completions"):
        error, seconds = await refused(server, path, JOB if path == "/v1/jobs" else CHAT, full)
        assert error["error"]["code"] == "queue_full"
        assert error["error"]["type"] == "rate_limit_error"
        assert seconds >= 1
    error, _ = await refused(server, "/v1/messages", MESSAGE, full)
    assert error["type"] == "error"
    assert error["error"]["type"] == "rate_limit_error"


async def test_another_tenant_is_not_held_up(server: Server, full: dict[str, str]) -> None:
    for _ in range(3):
        await server.post("/v1/jobs", 202, json=JOB, headers=full)
    other = bearer(await make_key(server, tenant="other"))
    await server.post("/v1/jobs", 202, json=JOB, headers=other)


async def test_a_repeat_of_an_accepted_request_is_answered_although_the_queue_is_full(
    server: Server, full: dict[str, str]
) -> None:
    named = {**full, "Idempotency-Key": "k"}
    first = await server.post("/v1/jobs", 202, json=JOB, headers=named)
    for _ in range(2):
        await server.post("/v1/jobs", 202, json=JOB, headers=full)
    again = await server.post("/v1/jobs", 202, json=JOB, headers=named)
    assert again["id"] == first["id"]
    await refused(server, "/v1/jobs", JOB, full)


async def test_a_request_that_made_no_job_takes_no_place(server: Server, full: dict[str, str]) -> None:
    named = {**full, "Idempotency-Key": "k"}
    for _ in range(5):
        await server.post("/v1/jobs", 202, json=JOB, headers=named)
        await server.post("/v1/jobs", 404, json={"body": {"model": "no-such-model"}}, headers=full)
    for _ in range(2):
        await server.post("/v1/jobs", 202, json=JOB, headers=full)
    await refused(server, "/v1/jobs", JOB, full)


@pytest.mark.parametrize(
    ("tenant", "accepted", "code"), [("full", 3, "queue_full"), ("slow", 2, "rate_limit_exceeded")]
)
async def test_a_bulk_request_is_bounded_line_by_line(server: Server, tenant: str, accepted: int, code: str) -> None:
    headers = bearer(await make_key(server, tenant=tenant))
    lines = "\n".join(json.dumps(JOB) for _ in range(5))
    async with server.http.post("/v1/jobs/bulk", data=lines, headers=headers) as reply:
        replies = [json.loads(line) for line in (await reply.text()).splitlines()]
    assert ["id" in one for one in replies] == [True] * accepted + [False] * (5 - accepted)
    assert {one["error"]["code"] for one in replies if "error" in one} == {code}
    assert all(AGAIN.search(one["error"]["message"]) for one in replies if "error" in one)


async def test_lines_that_were_accepted_before_are_answered_although_the_queue_is_full(
    server: Server, full: dict[str, str]
) -> None:
    lines = "\n".join(json.dumps(JOB) for _ in range(5))
    replies = []
    for _ in range(2):
        async with server.http.post("/v1/jobs/bulk", data=lines, headers={**full, "Idempotency-Key": "k"}) as reply:
            replies.append([json.loads(line).get("id") for line in (await reply.text()).splitlines()])
    assert replies[0] == replies[1]
    assert [job_id is None for job_id in replies[0]] == [False, False, False, True, True]


async def test_a_tenant_makes_no_more_requests_a_minute_than_it_may(server: Server, slow: dict[str, str]) -> None:
    for _ in range(2):
        await server.post("/v1/jobs", 202, json=JOB, headers=slow)
    error, seconds = await refused(server, "/v1/jobs", JOB, slow)
    assert error["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= seconds <= 30
    await server.get("/v1/jobs", headers=slow)


async def test_limits_hold_on_every_way_in(server: Server, slow: dict[str, str]) -> None:
    for _ in range(2):
        await server.post("/v1/jobs", 202, json=JOB, headers=slow)
    batch = {"input_file_id": "file-none", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    messages = {"requests": [{"custom_id": "a", "params": MESSAGE}]}
    response = {"model": "gpt-model", "input": "hello", "background": True}
    for path, body in (("/v1/batches", batch), ("/v1/messages/batches", messages), ("/v1/responses", response)):
        await refused(server, path, body, slow)
    async with server.http.ws_connect("/v1/ws", headers=slow) as socket:
        await socket.send_json({"action": "submit", "ref": "r", "job": JOB})
        reply = await socket.receive_json()
        assert (reply["type"], reply["error"]["code"]) == ("error", "rate_limit_exceeded")
        assert AGAIN.search(reply["error"]["message"]), "no header tells when"
    mutation = 'mutation { submit(input: {body: {model: "gpt-model", messages: []}}) { id } }'
    async with server.http.post("/graphql", json={"query": mutation}, headers=slow) as answer:
        assert "rate_limit_exceeded" in await answer.text()
        assert AGAIN.search(await answer.text())
    await server.post("/v1/rules", 201, json=RULE, headers=slow)
    [event] = (await server.post("/v1/events", 202, json=EVENT, headers=slow))["data"]
    assert (event["error"]["type"], event["error"]["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert AGAIN.search(event["error"]["message"])
    assert len((await server.get("/v1/jobs", headers=slow))["data"]) == 2


async def test_a_tenant_does_not_push_itself_before_the_others(server: Server) -> None:
    modest = bearer(await make_key(server, tenant="modest"))
    urgent = await server.post("/v1/jobs", 400, json={**JOB, "priority": 1}, headers=modest)
    assert urgent["error"]["param"] == "priority"
    await server.post("/v1/jobs", 202, json={**JOB, "priority": 0}, headers=modest)

"""A request that is sent twice is done once."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.errors import NotFound
from forebay.domain.query import JobQuery
from forebay.policy.resolution import Resolver
from tests.integration.api_server import ANSWER, CHAT, Server, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def submit(server: Server, body: Any, **headers: str) -> tuple[int, dict[str, Any], Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with server.http.post("/v1/jobs", data=data, headers=sent) as reply:
        return reply.status, await reply.json(), reply.headers


async def count(server: Server) -> int:
    return len(await server.services.jobs.find(JobQuery(tenant="default", limit=1000)))


async def test_a_repeat_under_the_same_key_answers_with_the_same_job(server: Server) -> None:
    first_status, first, first_headers = await submit(server, {"body": CHAT}, idempotency_key="k1")
    status, again, headers = await submit(server, {"body": CHAT}, idempotency_key="k1")
    assert (first_status, status) == (202, 202)
    assert again == first
    assert "idempotent-replayed" not in first_headers
    assert headers["idempotent-replayed"] == "true"
    assert headers["location"] == first_headers["location"]
    assert await count(server) == 1


async def test_bodies_compare_as_parsed_json(server: Server) -> None:
    _, first, _ = await submit(server, b'{"body": {"model":"gpt-model","a":1}, "priority": 1}', idempotency_key="k")
    _, again, _ = await submit(server, b'{"priority":1,"body":{"a":1,  "model":"gpt-model"}}', idempotency_key="k")
    assert again["id"] == first["id"]


async def test_another_body_under_the_key_is_a_conflict_that_no_sdk_retries(server: Server) -> None:
    await submit(server, {"body": CHAT}, idempotency_key="k")
    status, refused, headers = await submit(server, {"body": CHAT, "priority": 1}, idempotency_key="k")
    assert (status, headers["x-should-retry"]) == (409, "false")
    assert refused["error"]["code"] == "idempotency_conflict"


async def test_two_at_once_make_one_job(server: Server) -> None:
    replies = await asyncio.gather(*(submit(server, {"body": CHAT}, idempotency_key="k") for _ in range(16)))
    assert len({view["id"] for _, view, _ in replies}) == 1
    assert sum(headers.get("idempotent-replayed") == "true" for _, _, headers in replies) == 15
    assert await count(server) == 1


async def test_the_header_wins_over_the_field(server: Server) -> None:
    _, first, _ = await submit(server, {"body": CHAT, "idempotency_key": "field"}, idempotency_key="header")
    _, by_field, _ = await submit(server, {"body": CHAT, "idempotency_key": "field"})
    _, by_header, _ = await submit(server, {"body": CHAT}, idempotency_key="header")
    assert by_field["id"] != first["id"]
    assert by_header["id"] == first["id"]


async def test_a_key_belongs_to_its_path(server: Server) -> None:
    _, job, _ = await submit(server, {"body": CHAT}, idempotency_key="k")
    headers = {"idempotency-key": "k", "prefer": "respond-async"}
    awaited = await server.post("/v1/chat/completions", 202, json=CHAT, headers=headers)
    assert awaited["id"] != job["id"]


async def test_equal_requests_without_a_key_are_two(server: Server) -> None:
    _, first, _ = await submit(server, {"body": CHAT})
    _, second, _ = await submit(server, {"body": CHAT})
    assert first["id"] != second["id"]


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_key_out_of_bounds_is_refused(server: Server, key: str) -> None:
    status, refused, _ = await submit(server, {"body": CHAT}, idempotency_key=key)
    assert (status, refused["error"]["param"]) == (400, "idempotency_key")


async def test_an_sdks_own_repeat_joins_the_request_before(server: Server) -> None:
    _, first, _ = await submit(server, {"body": CHAT}, x_stainless_retry_count="0")
    _, again, _ = await submit(server, {"body": CHAT}, x_stainless_retry_count="1")
    _, fresh, _ = await submit(server, {"body": CHAT}, x_stainless_retry_count="0")
    assert again["id"] == first["id"]
    assert fresh["id"] != first["id"]


async def test_a_repeat_joins_only_the_same_clients_same_request(server: Server) -> None:
    _, first, _ = await submit(server, {"body": CHAT}, x_stainless_retry_count="0", authorization="Bearer a")
    other = {"x_stainless_retry_count": "1"}
    _, of_another, _ = await submit(server, {"body": CHAT}, authorization="Bearer b", **other)
    _, of_another_body, _ = await submit(server, {"body": CHAT, "priority": 1}, authorization="Bearer a", **other)
    assert len({first["id"], of_another["id"], of_another_body["id"]}) == 3


async def test_a_repeat_after_a_quarter_of_an_hour_is_a_new_request(server: Server) -> None:
    _, first, _ = await submit(server, {"body": CHAT}, x_stainless_retry_count="0")
    server.clock.advance(15 * 60 + 1)
    _, later, _ = await submit(server, {"body": CHAT}, x_stainless_retry_count="1")
    assert later["id"] != first["id"]


async def test_a_repeated_awaited_call_gets_the_answer_of_the_first(server: Server) -> None:
    async def call(retry: str) -> tuple[str, str]:
        headers = {"x-stainless-retry-count": retry}
        async with server.http.post("/v1/chat/completions", json=CHAT, headers=headers) as reply:
            return await reply.text(), reply.headers["x-forebay-job-id"]

    first = asyncio.create_task(call("0"))
    claimed = await server.hand.take()
    again = asyncio.create_task(call("1"))
    await server.get("/readyz")
    await server.hand.succeed(claimed)
    assert await first == await again == (ANSWER, claimed.job.id)
    assert await count(server) == 1


async def test_a_repeat_is_answered_though_its_model_is_gone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise NotFound("there is no such model any more")

    _, first, _ = await submit(server, {"body": CHAT}, idempotency_key="k")
    monkeypatch.setattr(Resolver, "resolve", gone)
    status, again, _ = await submit(server, {"body": CHAT}, idempotency_key="k")
    assert (status, again["id"]) == (202, first["id"])
    assert (await submit(server, {"body": CHAT, "priority": 1}, idempotency_key="k"))[0] == 409
    assert (await submit(server, {"body": CHAT}, idempotency_key="other"))[0] == 404

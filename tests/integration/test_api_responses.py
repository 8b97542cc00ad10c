"""``/v1/responses`` at the API: which job a request makes, and how a job is shown as a response."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.lane import CONTROL
from forebay.domain.response import is_background_response, job_id_of, response_id, response_of
from forebay.domain.target import ResponsesMode, Route, RouteEntry, TargetSpec, TargetType
from forebay.engine.handlers.erase import ERASE
from forebay.policy.responses_stream import numbered
from tests.integration.api_server import Server, running_server

Json = dict[str, Any]

RESPONSE = {
    "id": "resp_theirs",
    "object": "response",
    "created_at": 5,
    "status": "completed",
    "model": "gpt-model-2",
    "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": []}],
    "tools": [],
}
SPECS = (
    TargetSpec(name="gpt", type=TargetType.OPENAI, base_url="https://models.example/v1", models=("gpt-model",)),
    TargetSpec(
        name="other",
        type=TargetType.OPENAI,
        base_url="https://other.example/v1",
        models=("chat-model",),
        responses=ResponsesMode.CHAT,
    ),
    TargetSpec(name="claude", type=TargetType.ANTHROPIC, api_key="k", models=("claude-3",)),
)
ROUTES = (Route(name="either", entries=(RouteEntry(target="other"), RouteEntry(target="gpt"))),)
ASK = {"model": "gpt-model", "input": "x"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path, specs=SPECS, routes=ROUTES) as running:
        yield running


async def answered(server: Server, ask: Json, body: Json = RESPONSE) -> Json:
    """An awaited response that the model answered."""
    asking = asyncio.create_task(server.post("/v1/responses", json=ask))
    await server.hand.succeed(await server.hand.take(), json.dumps(body))
    return dict(await asking)


async def test_what_the_upstream_said_is_told_under_our_id(server: Server) -> None:
    made = await answered(server, {**ASK, "metadata": {"a": "b"}})
    assert made["id"] != RESPONSE["id"]
    assert (made["model"], made["output"], made["store"], made["background"]) == (
        "gpt-model-2",
        RESPONSE["output"],
        True,
        False,
    )
    assert await server.get(f"/v1/responses/{made['id']}") == made
    job = await server.get(f"/v1/jobs/{made['id'].replace('resp_', 'job_')}")
    assert (job["metadata"], job["result"]["body"]["id"]) == ({"a": "b"}, RESPONSE["id"])


async def test_a_background_response_bears_its_mark_in_its_row(server: Server) -> None:
    made = await server.post("/v1/responses", json={**ASK, "background": True})
    claimed = await server.hand.take()
    assert response_id(claimed.job.id) == made["id"]
    assert is_background_response(claimed.job)
    assert not claimed.job.awaited
    running = await server.get(f"/v1/responses/{made['id']}")
    assert (made["status"], running["status"]) == ("queued", "in_progress")
    await server.hand.succeed(claimed, json.dumps({**RESPONSE, "status": "incomplete"}))
    assert (await server.get(f"/v1/responses/{made['id']}"))["status"] == "incomplete"


async def test_a_repeat_gets_the_same_response(server: Server) -> None:
    ask = {**ASK, "background": True}
    made = await server.post("/v1/responses", json=ask, headers={"idempotency-key": "k"})
    again = await server.post("/v1/responses", json=ask, headers={"idempotency-key": "k"})
    assert again["id"] == made["id"]
    other = await server.post("/v1/responses", 409, json={**ask, "input": "y"}, headers={"idempotency-key": "k"})
    assert other["error"]["code"] == "idempotency_conflict"


async def test_what_is_not_to_be_stored_has_a_notice_of_its_erasure(server: Server) -> None:
    made = await server.post("/v1/responses", json={**ASK, "background": True, "store": False})
    claimed = await server.hand.take()
    assert [(notice.kind, notice.queue) for notice in claimed.job.on_end] == [(ERASE, CONTROL)]
    args = response_of(claimed.job)
    assert args is not None
    assert not args.is_stored
    await server.hand.succeed(claimed, json.dumps(RESPONSE))
    shown = await server.get(f"/v1/responses/{made['id']}")
    assert (shown["store"], shown["status"]) == (False, "completed")
    assert [job["id"] for job in (await server.get("/v1/jobs"))["data"]] == [claimed.job.id]


@pytest.mark.parametrize(
    ("ask", "param"),
    [
        ({**ASK, "background": "yes"}, "background"),
        ({**ASK, "stream": 1}, "stream"),
        ({**ASK, "store": []}, "store"),
        ({**ASK, "metadata": {"a": 1}}, "metadata"),
        ({**ASK, "metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({**ASK, "previous_response_id": "resp_none"}, "previous_response_id"),
        ({**ASK, "previous_response_id": 5}, "previous_response_id"),
        ({"input": "x"}, "model"),
        ({"model": "chat-model", "input": "x", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"model": "chat-model", "input": "x", "conversation": "conv_1", "background": True}, "conversation"),
    ],
)
async def test_what_cant_be_done_is_refused_at_once(server: Server, ask: Json, param: str) -> None:
    assert (await server.post("/v1/responses", 400, json=ask))["error"]["param"] == param


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b'{"model":"gpt-model","n":1e400}', b'{"model":"gpt-model","input":"\\ud800"}']
)
async def test_a_body_that_is_no_object_is_refused(server: Server, data: bytes) -> None:
    assert "error" in await server.post("/v1/responses", 400, data=data)


async def test_the_same_server_is_sent_its_own_id_for_the_response_before(server: Server) -> None:
    first = await answered(server, ASK)
    made = await server.post("/v1/responses", json={**ASK, "previous_response_id": first["id"], "background": True})
    claimed = await server.hand.take()
    assert claimed.job.body is not None
    sent = json.loads(claimed.job.body.text or "")
    assert (sent["previous_response_id"], sent["input"], claimed.job.spec.target) == ("resp_theirs", "x", "gpt")
    assert made["previous_response_id"] == first["id"]


async def test_a_route_goes_on_where_the_response_before_was_made(server: Server) -> None:
    first = await answered(server, ASK)
    ask = {"model": "either", "input": "y", "previous_response_id": first["id"], "background": True}
    await server.post("/v1/responses", json=ask)
    claimed = await server.hand.take()
    assert (claimed.lane, claimed.job.spec.model) == ("gpt", "gpt-model")


async def test_a_route_serves_what_chat_cant_say_where_it_can_be_said(server: Server) -> None:
    ask = {"model": "either", "input": "x", "background": True}
    await server.post("/v1/responses", json={**ask, "tools": [{"type": "web_search"}]})
    claimed = await server.hand.take()
    assert (claimed.lane, claimed.job.spec.model) == ("gpt", "gpt-model")
    made = await server.post("/v1/responses", json=ask)
    [job] = await server.services.jobs.get("default", [job_id_of(made["id"])])
    assert job is not None
    assert job.queue == "route:either"


async def test_a_repeat_is_answered_as_then_although_the_response_before_is_gone(server: Server) -> None:
    first = await answered(server, ASK)
    ask = {**ASK, "previous_response_id": first["id"], "background": True}
    made = await server.post("/v1/responses", json=ask, headers={"idempotency-key": "k"})
    async with server.http.delete(f"/v1/responses/{first['id']}") as reply:
        assert reply.status == 200
    again = await server.post("/v1/responses", json=ask, headers={"idempotency-key": "k"})
    assert again["id"] == made["id"]
    await server.post("/v1/responses", 400, json=ask)


async def test_another_server_is_sent_the_whole_conversation(server: Server) -> None:
    first = await answered(server, ASK)
    second = await answered(server, {**ASK, "input": "y", "previous_response_id": first["id"]})
    ask = {"model": "chat-model", "input": "z", "previous_response_id": second["id"], "background": True}
    made = await server.post("/v1/responses", json=ask)
    claimed = await server.hand.take()
    assert claimed.job.body is not None
    sent = json.loads(claimed.job.body.text or "")
    assert "previous_response_id" not in sent
    said = [(item["role"], item["content"]) for item in sent["input"]]
    assert said == [("user", "x"), ("assistant", []), ("user", "y"), ("assistant", []), ("user", "z")]
    assert made["previous_response_id"] == second["id"]
    items = await server.get(f"/v1/responses/{made['id']}/input_items?order=asc&limit=3")
    assert ([item["role"] for item in items["data"]], items["has_more"]) == (["user", "assistant", "user"], True)
    rest = await server.get(f"/v1/responses/{made['id']}/input_items?order=asc&after={items['last_id']}")
    assert (len(rest["data"]), rest["has_more"]) == (2, False)


async def test_a_strange_answer_can_be_continued_all_the_same(server: Server) -> None:
    first = await answered(server, ASK, {**RESPONSE, "id": {}, "status": [], "output": [5, {"type": ["x"]}]})
    made = await server.post("/v1/responses", json={**ASK, "previous_response_id": first["id"], "background": True})
    items = await server.get(f"/v1/responses/{made['id']}/input_items?order=asc")
    assert [item["type"] for item in items["data"]] == ["message", ["x"], "message"]
    async with server.http.get(f"/v1/responses/{first['id']}?stream=true") as reply:
        assert "event: response.completed" in await reply.text()


async def test_a_response_that_has_no_answer_yet_cant_be_continued(server: Server) -> None:
    made = await server.post("/v1/responses", json={**ASK, "background": True})
    refused = await server.post("/v1/responses", 400, json={**ASK, "previous_response_id": made["id"]})
    assert refused["error"]["code"] == "previous_response_not_completed"


async def test_an_answer_that_is_no_response_fails_as_one(server: Server) -> None:
    assert await answered(server, ASK, {"text": "hi"}) == {"text": "hi"}
    made = await server.post("/v1/responses", json={**ASK, "background": True})
    await server.hand.succeed(await server.hand.take(), '{"text": "hi"}')
    failed = await server.get(f"/v1/responses/{made['id']}")
    assert (failed["status"], failed["error"]["type"]) == ("failed", "invalid_output")
    async with server.http.get(f"/v1/responses/{made['id']}?stream=true") as reply:
        assert "event: response.failed" in await reply.text()


async def test_a_preferred_wait_that_runs_out_leaves_a_job(server: Server) -> None:
    job = await server.post("/v1/responses", 202, json=ASK, headers={"prefer": "respond-async"})
    assert (job["object"], job["status"], job["endpoint"]) == ("job", "queued", "/v1/responses")
    waiting = asyncio.create_task(server.post("/v1/responses", json=ASK, headers={"prefer": "respond-async, wait=60"}))
    for _ in range(2):
        await server.hand.succeed(await server.hand.take(), json.dumps(RESPONSE))
    assert (await waiting)["status"] == "completed"


async def test_a_job_that_is_no_response_is_not_found_as_one(server: Server) -> None:
    job = await server.submit()
    await server.get(f"/v1/responses/{job['id'].replace('job_', 'resp_')}", 404)
    await server.get(f"/v1/responses/{job['id']}", 404)


@pytest.mark.parametrize(
    "query", ["stream=maybe", "stream=true&starting_after=-1", "starting_after=1", "stream=true&starting_after=x"]
)
async def test_a_stream_that_cant_be_meant_is_refused(server: Server, query: str) -> None:
    made = await server.post("/v1/responses", json={**ASK, "background": True})
    await server.get(f"/v1/responses/{made['id']}?{query}", 400)


async def test_another_tenants_response_is_not_found(server: Server) -> None:
    every = ["submit", "read", "admin"]
    ours = await server.post("/v1/keys", json={"scopes": every})
    admin = {"authorization": f"Bearer {ours['key']}"}
    other = await server.post("/v1/keys", json={"scopes": every, "tenant": "b"}, headers=admin)
    theirs = {"authorization": f"Bearer {other['key']}"}
    made = await server.post("/v1/responses", json={**ASK, "background": True}, headers=admin)
    path = f"/v1/responses/{made['id']}"
    assert (await server.get(path, headers=admin))["id"] == made["id"]
    for one in (path, f"{path}?stream=true", f"{path}/input_items"):
        await server.get(one, 404, headers=theirs)
    await server.post(f"{path}/cancel", 404, headers=theirs)
    async with server.http.delete(path, headers=theirs) as reply:
        assert reply.status == 404
    ask = {**ASK, "previous_response_id": made["id"]}
    await server.post("/v1/responses", 400, json=ask, headers=theirs)


async def test_a_revoked_key_is_told_no_more(server: Server) -> None:
    every = {"scopes": ["submit", "read", "admin"]}
    ours = await server.post("/v1/keys", json=every)
    admin = {"authorization": f"Bearer {ours['key']}"}
    theirs = await server.post("/v1/keys", json=every, headers=admin)
    ask = {**ASK, "background": True, "stream": True}
    headers = {"authorization": f"Bearer {theirs['key']}"}
    async with server.http.post("/v1/responses", json=ask, headers=headers) as reply:
        claimed = await server.hand.take()
        await server.hand.say(claimed, numbered({"type": "response.output_text.delta", "delta": "seen"}, 2))
        assert await reply.content.readuntil(b'"seen","sequence_number":2}\n\n')
        async with server.http.delete(f"/v1/keys/{theirs['id']}", headers=admin) as gone:
            assert gone.status == 200
        await server.hand.say(claimed, numbered({"type": "response.output_text.delta", "delta": "secret"}, 3))
        rest = await reply.text()
    assert "secret" not in rest
    assert json.loads(rest.removeprefix("data: "))["error"]["type"] == "authentication_error"

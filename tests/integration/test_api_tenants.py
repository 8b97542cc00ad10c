"""A tenant never sees another's things, nor that they exist: every route and verb, tried with the other's ids."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.routing import Route

from forebay.api.scopes import OPERATOR
from forebay.api.server import ROUTES
from tests.integration.api_server import CHAT, Server, running_server
from tests.integration.test_api_key_gate import bearer, make_key

SHARED = {"/v1/models/{id:path}"}  # what is configured, for every tenant alike
MAKING = {("PUT", "/v1/rules/{name}")}  # a name is the caller's own choice: it makes one of its own
WITH_ID = sorted(
    (method, route.path)
    for route in ROUTES
    if isinstance(route, Route) and "{" in route.path and route.path not in SHARED
    for method in route.methods or ()
    if method != "HEAD" and (method, route.path) not in MAKING
)
LISTS = sorted(
    route.path
    for route in ROUTES
    if isinstance(route, Route) and "{" not in route.path and "GET" in (route.methods or ())
)
BODIES = {
    "/v1/webhook_endpoints/{id}": {"name": "mine"},
    "/v1/webhook_endpoints/{id}/test": {"event_type": "job.failed"},
}
ANTHROPIC = {"anthropic-version": "2023-06-01"}
LINE = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": CHAT})
MESSAGE = {"model": "claude-3", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
EVENT = {"id": "alpha-event", "source": "shop", "detail-type": "made", "detail": {"name": "lamp"}}
RULE = {"name": "alpha-rule", "pattern": {"source": ["shop"]}, "send": {"copy": {"target": "gpt", "body": CHAT}}}
OTHER = {"copy": {"target": "other", "body": {**CHAT, "model": "x"}}}
METADATA = {"client": "alpha-only"}


SEEN = (
    *("/v1/jobs", "/v1/files", "/v1/batches", "/v1/messages/batches", "/v1/keys", "/v1/dead-letters"),
    *("/v1/rules", "/v1/events"),
)


class Two:
    """Two tenants: one has things, the other looks for them."""

    def __init__(self, server: Server, alpha: dict[str, str], beta: dict[str, str]) -> None:
        self.server = server
        self.alpha = alpha
        self.beta = beta
        self.ids: dict[str, str] = {}

    async def fill(self) -> None:
        """Alpha makes one thing of each kind."""
        post, alpha = self.server.post, self.alpha
        done = await post("/v1/jobs", 202, json={"body": CHAT, "metadata": METADATA}, headers=alpha)
        await self.server.hand.succeed(await self.server.hand.take())
        failed = await post("/v1/jobs", 202, json={"body": CHAT}, headers=alpha)
        await self.server.hand.fail(await self.server.hand.take())
        queued = await post("/v1/jobs", 202, json={"body": CHAT}, headers={**alpha, "Idempotency-Key": "k"})
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", LINE.encode(), filename="lines.jsonl")
        file = await post("/v1/files", data=form, headers=alpha)
        batch = await post("/v1/batches", json=batch_of(file["id"]), headers=alpha)
        requests = {"requests": [{"custom_id": "a", "params": MESSAGE}]}
        messages = await post("/v1/messages/batches", json=requests, headers=alpha)
        background = {"model": "gpt-model", "input": "hello", "background": True}
        response = await post("/v1/responses", json=background, headers=alpha)
        key = await post("/v1/keys", json={}, headers=alpha)
        await post("/v1/rules", 201, json=RULE, headers=alpha)
        await post("/v1/events", 202, json=EVENT, headers=alpha)
        [event] = (await self.server.get("/v1/events", headers=alpha))["data"]
        made = {"done": done, "failed": failed, "queued": queued, "file": file, "batch": batch}
        made |= {"messages": messages, "response": response, "key": key}
        self.ids = {kind: view["id"] for kind, view in made.items()}
        self.ids |= {"rule": RULE["name"], "event": event["record_id"]}

    async def tried(self, method: str, path: str) -> AsyncIterator[tuple[str, int, str]]:
        """Beta's replies on a route, with each of alpha's ids."""
        for own_id in self.ids.values():
            place = re.sub(r"{.*?}", own_id, path)
            async with self.server.http.request(method, place, headers=self.beta, json=BODIES.get(path)) as reply:
                yield place, reply.status, await reply.text()

    async def snapshot(self) -> list[Any]:
        """All that alpha sees."""
        seen = []
        for path in SEEN:
            seen.append((path, (await self.server.get(path, headers=self.alpha))["data"]))
        return [*seen, await self.server.get(f"/v1/responses/{self.ids['response']}", headers=self.alpha)]


def batch_of(file_id: str) -> dict[str, str]:
    return {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}


def without_use(seen: Any) -> Any:
    """What was seen, but for when keys were used last."""
    text = json.dumps(seen)
    return json.loads(text, object_hook=lambda found: {k: v for k, v in found.items() if k != "last_used_at"})


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with running_server(tmp_path) as server:
        await make_key(server)
        alpha, beta = [bearer(await make_key(server, tenant=name)) for name in ("alpha", "beta")]
        found = Two(server, alpha, beta)
        await found.fill()
        yield found


async def test_no_route_finds_anothers_ids_and_nothing_changes(two: Two) -> None:
    before = await two.snapshot()
    for method, path in WITH_ID:
        async for place, status, text in two.tried(method, path):
            assert status == 404, f"{method} {place}: {status} {text}"
    assert without_use(await two.snapshot()) == without_use(before)


async def test_their_owner_finds_them(two: Two) -> None:
    """Else the test above could not fail."""
    ids = two.ids
    for path in (
        f"/v1/jobs/{ids['done']}",
        f"/v1/files/{ids['file']}",
        f"/v1/files/{ids['file']}/content",
        f"/v1/batches/{ids['batch']}",
        f"/v1/messages/batches/{ids['messages']}",
        f"/v1/responses/{ids['response']}",
        f"/v1/keys/{ids['key']}",
        f"/v1/rules/{ids['rule']}",
    ):
        async with two.server.http.get(path, headers=two.alpha) as reply:
            assert reply.status == 200, path


@pytest.mark.parametrize("wire", [{}, ANTHROPIC], ids=["openai", "anthropic"])
async def test_no_list_has_anothers_ids(two: Two, wire: dict[str, str]) -> None:
    for path in LISTS:
        async with two.server.http.get(path, headers={**two.beta, **wire}) as reply:
            text = await reply.text()
            assert reply.status < 500, path
        if path in OPERATOR:
            assert reply.status == 403
        for own_id in two.ids.values():
            assert own_id not in text, path
        assert "alpha" not in text, path


async def test_filters_and_cursors_lead_nowhere(two: Two) -> None:
    for query in (
        f"after={two.ids['queued']}",
        f"parent_id={two.ids['batch'].replace('batch_', 'job_')}",
        "metadata[client]=alpha-only",
    ):
        assert (await two.server.get(f"/v1/jobs?{query}", headers=two.beta))["data"] == []


async def test_anothers_dead_letters_are_not_retried(two: Two) -> None:
    ids = {"ids": [two.ids["failed"], two.ids["queued"]]}
    named = await two.server.post("/v1/dead-letters/retry", json=ids, headers=two.beta)
    assert named["retried"] == 0
    assert {one["error"]["code"] for one in named["data"]} == {"not_found"}
    assert (await two.server.post("/v1/dead-letters/retry", json={"all": True}, headers=two.beta))["retried"] == 0


async def test_anothers_rules_and_events_are_as_if_they_were_not(two: Two) -> None:
    async with two.server.http.put(
        f"/v1/rules/{RULE['name']}", json={**RULE, "send": OTHER}, headers=two.beta
    ) as reply:
        assert reply.status == 201
    assert (await two.server.get(f"/v1/rules/{RULE['name']}", headers=two.alpha))["send"]["copy"]["target"] == "gpt"
    await two.server.post("/v1/events/replay", 404, json={"ids": [two.ids["event"]]}, headers=two.beta)
    third = bearer(await make_key(two.server, tenant="gamma"))
    tried = await two.server.post("/v1/rules/test", json={"event": EVENT}, headers=third)
    assert tried["matched"] is False
    [receipt] = (await two.server.post("/v1/events", 202, json=EVENT, headers=third))["data"]
    assert receipt["matched"] == []


async def test_a_batch_of_anothers_file_has_no_input(two: Two) -> None:
    batch = await two.server.post("/v1/batches", json=batch_of(two.ids["file"]), headers=two.beta)
    [job] = await two.server.services.jobs.get("beta", [batch["id"].replace("batch_", "job_")])
    assert job is not None
    assert job.blobs == ()
    assert json.loads(job.spec.args or "")["input_blob_id"] is None


async def test_anothers_response_is_continued_by_nobody_else(two: Two) -> None:
    body = {"model": "gpt-model", "input": "and then?", "background": True}
    body["previous_response_id"] = two.ids["response"]
    async with two.server.http.post("/v1/responses", json=body, headers=two.beta) as reply:
        assert reply.status in {400, 404}, await reply.text()


async def test_the_same_idempotency_key_is_another_job_of_another_tenant(two: Two) -> None:
    headers = {**two.beta, "Idempotency-Key": "k"}
    other = await two.server.post("/v1/jobs", 202, json={"body": {**CHAT, "n": 2}}, headers=headers)
    assert other["id"] not in two.ids.values()


async def test_an_sdks_repeat_joins_no_request_of_another_tenant(two: Two) -> None:
    first = await two.server.post(
        "/v1/jobs", 202, json={"body": CHAT}, headers={**two.alpha, "x-stainless-retry-count": "0"}
    )
    again = await two.server.post(
        "/v1/jobs", 202, json={"body": CHAT}, headers={**two.beta, "x-stainless-retry-count": "1"}
    )
    assert first["id"] != again["id"]


async def test_a_socket_watches_and_cancels_nothing_of_anothers(two: Two) -> None:
    async with two.server.http.ws_connect("/v1/ws", headers=two.beta) as socket:
        for action in ("watch", "cancel"):
            await socket.send_json({"action": action, "ids": [two.ids["queued"]], "ref": action})
            refused = await socket.receive_json()
            assert refused["type"] == "error"
            assert refused["error"]["code"] == "not_found"


async def test_graphql_finds_nothing_of_anothers(two: Two) -> None:
    query = "query { jobs(first: 10) { edges { node { id } } } }"
    found = await two.server.post("/graphql", json={"query": query}, headers=two.beta)
    assert found == {"data": {"jobs": {"edges": []}}}
    one = f'query {{ job(id: "{two.ids["queued"]}") {{ id }} }}'
    found = await two.server.post("/graphql", json={"query": one}, headers=two.beta)
    assert found["data"] == {"job": None} or found["data"] is None
    cancel = f'mutation {{ cancel(id: "{two.ids["queued"]}") {{ id }} }}'
    await two.server.http.post("/graphql", json={"query": cancel}, headers=two.beta)
    assert (await two.server.get(f"/v1/jobs/{two.ids['queued']}", headers=two.alpha))["status"] == "queued"


async def test_what_waits_of_all_tenants_is_told_to_operators_alone(two: Two) -> None:
    [target, *_] = (await two.server.get("/v1/targets", headers=two.beta))["data"]
    assert (target["name"], target["queued"], target["url"]) == ("gpt", None, None)
    operator = bearer(await make_key(two.server))
    [target, *_] = (await two.server.get("/v1/targets", headers=operator))["data"]
    assert target["queued"] >= 1
    assert target["url"] == "https://models.example/v1"
    await two.server.http.get("/metrics", headers=operator)

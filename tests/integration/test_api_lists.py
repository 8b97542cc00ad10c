"""Lists, dead letters, models, targets, health and metrics."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api_server import Server, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def ids(server: Server, query: str) -> list[str]:
    return [job["id"] for job in (await server.get(f"/v1/jobs?{query}"))["data"]]


async def kill(server: Server, **fields: Any) -> str:
    job = await server.submit(**fields)
    await server.hand.fail(await server.hand.take())
    return str(job["id"])


async def test_a_list_is_newest_first_and_pages_to_its_end(server: Server) -> None:
    submitted = [(await server.submit())["id"] for _ in range(5)]
    newest = submitted[::-1]
    page = await server.get("/v1/jobs?limit=2")
    assert (page["object"], page["has_more"]) == ("list", True)
    assert [job["id"] for job in page["data"]] == newest[:2]
    assert (page["first_id"], page["last_id"]) == (newest[0], newest[1])
    assert await ids(server, f"limit=2&after={page['last_id']}") == newest[2:4]
    last = await server.get(f"/v1/jobs?limit=2&after={newest[3]}")
    assert (last["has_more"], [job["id"] for job in last["data"]]) == (False, newest[4:])


async def test_an_empty_list_has_no_ends(server: Server) -> None:
    expected = {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    assert await server.get("/v1/jobs") == expected


async def test_a_listed_job_has_neither_result_nor_attempts(server: Server) -> None:
    await server.submit()
    [job] = (await server.get("/v1/jobs"))["data"]
    assert "result" not in job
    assert "attempts" not in job
    assert job["metadata"] == {}


async def test_every_filter_filters(server: Server) -> None:
    first = (await server.submit(metadata={"run": "a", "x": "1"}))["id"]
    server.clock.advance(100)
    second = (await server.submit(target="other", body={"model": "other-model"}, metadata={"run": "b"}))["id"]
    await server.post(f"/v1/jobs/{second}/cancel")
    middle = server.clock.now() - 50
    assert await ids(server, "status=cancelled") == [second]
    assert await ids(server, "status=queued,cancelled") == [second, first]
    assert await ids(server, "status=queued&status=cancelled") == [second, first]
    assert await ids(server, "kind=infer") == [second, first]
    assert await ids(server, "kind=batch") == []
    assert await ids(server, "target=other") == [second]
    assert await ids(server, "target=gpt") == [first]
    assert await ids(server, "model=gpt-model") == [first]
    assert await ids(server, "metadata[run]=a&metadata[x]=1") == [first]
    assert await ids(server, "metadata[run]=a&metadata[x]=2") == []
    assert await ids(server, f"created_after={middle}") == [second]
    assert await ids(server, f"created_before={middle}") == [first]
    assert await ids(server, "parent_id=job_0") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=1e3", "status=done", "stauts=failed", "after=",
     "created_after=soon", "created_before=2026-01-01"],
)  # fmt: skip
async def test_a_wrong_filter_is_refused_by_name(server: Server, query: str) -> None:
    refused = await server.get(f"/v1/jobs?{query}", 400)
    assert refused["error"]["param"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("jobs", "job_"), ("dead-letters", "job_"), ("webhook_endpoints", "we_"), ("webhook_deliveries", "job_"),
     ("batches", "batch_"), ("events", "event_"), ("keys", "key_")],
)  # fmt: skip
async def test_a_list_goes_on_after_an_id_of_its_own_alone(server: Server, path: str, prefix: str) -> None:
    for wrong in ("zz", "0", prefix, f"{prefix}zz", f"other_{26 * 'a'}"):
        refused = await server.get(f"/v1/{path}?after={wrong}", 400)
        assert (refused["error"]["param"], refused["error"]["code"]) == ("after", "invalid_value")
    unknown = await server.get(f"/v1/{path}?after={prefix}{26 * '0'}")
    assert (unknown["object"], unknown["data"], unknown["has_more"]) == ("list", [], False)


async def test_dead_letters_are_listed_and_put_back_by_id(server: Server) -> None:
    dead = await kill(server)
    live = (await server.submit())["id"]
    assert [job["id"] for job in (await server.get("/v1/dead-letters"))["data"]] == [dead]
    outcome = await server.post("/v1/dead-letters/retry", json={"ids": [dead, live, "job_0"]})
    assert (outcome["object"], outcome["retried"]) == ("list", 1)
    back, refused, unknown = outcome["data"]
    assert back == {"id": dead, "status": "queued"}
    assert refused["error"]["code"] == "conflict"
    assert unknown["error"]["code"] == "not_found"
    assert (await server.get("/v1/dead-letters"))["data"] == []


@pytest.mark.parametrize("selector", [{"target": "gpt"}, {"code": "target_rejected"}, {"all": True}])
async def test_dead_letters_are_put_back_by_a_selector(server: Server, selector: dict[str, Any]) -> None:
    dead = {await kill(server) for _ in range(3)}
    outcome = await server.post("/v1/dead-letters/retry", json=selector)
    assert outcome["retried"] == 3
    assert {one["id"] for one in outcome["data"]} == dead


@pytest.mark.parametrize(
    "selector", [{}, {"all": False}, {"ids": []}, {"ids": ["a"], "all": True}, {"al": True}, {"ids": "job_1"}], ids=str
)
async def test_a_selector_that_is_not_exactly_one_is_refused(server: Server, selector: dict[str, Any]) -> None:
    await server.post("/v1/dead-letters/retry", 400, json=selector)


async def test_dead_letters_of_another_selector_stay(server: Server) -> None:
    await kill(server)
    assert (await server.post("/v1/dead-letters/retry", json={"target": "other"}))["retried"] == 0
    assert (await server.post("/v1/dead-letters/retry", json={"code": "poison"}))["retried"] == 0
    assert len((await server.get("/v1/dead-letters?target=gpt&code=target_rejected"))["data"]) == 1


async def test_models_are_exact_names_and_routes(server: Server) -> None:
    listed = await server.get("/v1/models")
    assert [model["id"] for model in listed["data"]] == ["gpt-model", "claude-3", "other-model", "summariser"]
    assert set(listed["data"][0]) == {"id", "object", "created", "owned_by"}
    assert (await server.get("/v1/models/gpt-model"))["owned_by"] == "gpt"
    assert (await server.get("/v1/models/gpt-anything"))["owned_by"] == "gpt"
    assert (await server.get("/v1/models/org/nobody", 404))["error"]["code"] == "model_not_found"


async def test_anthropics_clients_get_models_in_their_shape(server: Server) -> None:
    headers = {"anthropic-version": "2023-06-01"}
    listed = await server.get("/v1/models", headers=headers)
    assert set(listed) == {"data", "has_more", "first_id", "last_id"}
    assert set(listed["data"][0]) == {"type", "id", "display_name", "created_at"}
    refused = await server.get("/v1/models/nobody", 404, headers=headers)
    assert (refused["type"], refused["error"]["type"]) == ("error", "not_found_error")
    assert refused["request_id"].startswith("req_")


async def test_targets_show_no_secret(server: Server) -> None:
    await server.submit()
    async with server.http.get("/v1/targets") as reply:
        text = await reply.text()
        listed = await reply.json()
    assert "secret" not in text
    gpt = listed["data"][0]
    assert (gpt["name"], gpt["type"], gpt["url"]) == ("gpt", "openai", "https://models.example/v1")
    assert (gpt["queued"], gpt["running"], gpt["dead_letters"]) == (1, 0, 0)


async def test_metrics_tell_what_the_store_holds(server: Server) -> None:
    await kill(server, target="other", body={})
    await server.submit()
    server.clock.advance(30)
    async with server.http.get("/metrics") as reply:
        lines = (await reply.text()).splitlines()
        assert reply.headers["content-type"].startswith("text/plain")
    assert 'forebay_queue_depth{lane="live",target="gpt"} 1.0' in lines
    assert 'forebay_oldest_queued_seconds{lane="live",target="gpt"} 30.0' in lines
    assert 'forebay_dead_letters{target="other"} 1.0' in lines
    assert 'forebay_queue_depth{lane="live",target="claude"} 0.0' in lines


async def test_health_answers(server: Server) -> None:
    assert await server.get("/livez") == {"status": "ok"}
    assert await server.get("/readyz") == {"status": "ok"}

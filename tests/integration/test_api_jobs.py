"""``/v1/jobs`` as its clients see it."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api_server import ANSWER, CHAT, Server, running_server

KEYS = {
    "id", "object", "kind", "status", "target", "model", "endpoint", "parent_id", "priority", "metadata", "created_at",
    "not_before", "deadline", "started_at", "finished_at", "result", "error", "usage", "cost_usd", "attempt_count",
    "attempts",
}  # fmt: skip
ATTEMPT_KEYS = {
    "number", "target", "model", "started_at", "finished_at", "outcome", "status_code", "error", "retry_at", "usage",
    "cost_usd",
}  # fmt: skip


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def test_a_submitted_job_is_accepted_with_its_whole_view_and_location(server: Server) -> None:
    async with server.http.post("/v1/jobs", json={"body": CHAT, "priority": 5, "metadata": {"a": "b"}}) as reply:
        job = await reply.json()
        assert reply.status == 202
        assert reply.headers["location"] == f"/v1/jobs/{job['id']}"
        assert reply.headers["x-request-id"].startswith("req_")
    assert set(job) == KEYS
    assert job["status"] == "queued"
    assert job["kind"] == "infer"
    assert (job["target"], job["model"], job["endpoint"]) == ("gpt", "gpt-model", "/v1/chat/completions")
    assert (job["priority"], job["metadata"]) == (5, {"a": "b"})
    assert job["deadline"] == job["created_at"] + 86_400
    unknown = ("parent_id", "not_before", "started_at", "finished_at", "result", "error", "usage", "cost_usd")
    assert [job[name] for name in unknown] == [None] * len(unknown)
    assert (job["attempt_count"], job["attempts"]) == (0, [])
    assert await server.get(f"/v1/jobs/{job['id']}") == job


async def test_the_body_reaches_the_worker_byte_by_byte(server: Server) -> None:
    text = '{ "model":"gpt-model",  "n": 1.0, "x":[1e5, "\\u00e4ä"] , "n2":12345678901234567890123 }'
    async with server.http.post("/v1/jobs", data=f'{{"body":{text}, "priority": 1}}'.encode()) as reply:
        assert reply.status == 202
    claimed = await server.hand.take()
    assert claimed.job.body is not None
    assert claimed.job.body.text == text


async def test_an_ended_job_shows_result_usage_cost_and_attempts(server: Server) -> None:
    job = await server.submit()
    await server.hand.succeed(await server.hand.take())
    view = await server.get(f"/v1/jobs/{job['id']}")
    assert view["status"] == "succeeded"
    assert view["result"] == {"status_code": 200, "body": json.loads(ANSWER)}
    assert view["usage"] == {
        "input_tokens": 3, "cached_tokens": 0, "output_tokens": 2, "reasoning_tokens": 0, "total_tokens": 5,
    }  # fmt: skip
    assert view["cost_usd"] == 0.5
    [attempt] = view["attempts"]
    assert set(attempt) == ATTEMPT_KEYS
    assert (attempt["number"], attempt["target"], attempt["outcome"]) == (1, "gpt", "succeeded")


async def test_a_failed_job_shows_the_models_refusal_and_the_error(server: Server) -> None:
    job = await server.submit()
    await server.hand.fail(await server.hand.take(), body='{"error":{"message":"no"}}')
    view = await server.get(f"/v1/jobs/{job['id']}")
    assert (view["status"], view["error"]["code"]) == ("failed", "target_rejected")
    assert view["result"] == {"status_code": 400, "body": {"error": {"message": "no"}}}


async def test_a_wait_ends_as_soon_as_the_job_has(server: Server) -> None:
    job = await server.submit()
    waiting = asyncio.create_task(server.get(f"/v1/jobs/{job['id']}?wait=60"))
    await server.hand.succeed(await server.hand.take())
    async with asyncio.timeout(120):
        view = await waiting
    assert view["status"] == "succeeded"


async def test_a_wait_that_runs_out_answers_with_the_job_as_it_is(server: Server) -> None:
    job = await server.submit()
    assert (await server.get(f"/v1/jobs/{job['id']}?wait=0.05"))["status"] == "queued"


async def test_a_wait_ends_promptly_when_the_server_stops(server: Server) -> None:
    job = await server.submit()
    waiting = asyncio.create_task(server.get(f"/v1/jobs/{job['id']}?wait=60"))
    await server.get("/readyz")  # the wait was sent before this
    server.serving.cancel()
    async with asyncio.timeout(120):
        assert (await waiting)["status"] == "queued"


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan", "inf"])
async def test_a_wait_out_of_bounds_is_refused(server: Server, wait: str) -> None:
    job = await server.submit()
    assert (await server.get(f"/v1/jobs/{job['id']}?wait={wait}", 400))["error"]["param"] == "wait"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"priority": 101}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "long"}, "timeout"),
        ({"deadline": "tomorrow"}, "deadline"),
        ({"deadline": True}, "deadline"),
        ({"not_before": "2h", "deadline": "2027-01-15T08:30:00Z"}, "deadline"),
        ({"on_unknown": "panic"}, "on_unknown"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"a" * 65: "b"}}, "metadata"),
        ({"metadata": {"a": "b" * 513}}, "metadata.a"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"budget_usd": -1}, "budget_usd"),
        ({"endpoint": ""}, "endpoint"),
        ({"target": ""}, "target"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "k" * 256}, "idempotency_key"),
        ({"body": []}, "body"),
        ({"body": "text"}, "body"),
        ({"body": {"model": 7}}, "body.model"),
        ({"pirority": 1}, "pirority"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_refused_by_name(server: Server, fields: dict[str, Any], param: str) -> None:
    refused = await server.post("/v1/jobs", 400, json={"body": CHAT, **fields})
    error = refused["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(param)


@pytest.mark.parametrize("name", ["data_class"])
async def test_a_field_of_a_later_version_is_refused_as_not_supported(server: Server, name: str) -> None:
    refused = await server.post("/v1/jobs", 400, json={"body": CHAT, name: {"a": 1}})
    assert (refused["error"]["code"], refused["error"]["param"]) == ("not_supported", name)


async def test_null_is_as_good_as_absent(server: Server) -> None:
    names = ("target", "model", "endpoint", "priority", "not_before", "deadline", "timeout", "max_attempts", "targets")
    await server.submit(**dict.fromkeys(names))


async def test_a_body_without_a_body_is_refused(server: Server) -> None:
    refused = await server.post("/v1/jobs", 400, json={"model": "gpt-model"})
    assert (refused["error"]["code"], refused["error"]["param"]) == ("missing_required_parameter", "body")


async def test_an_unknown_model_is_a_404_at_submission(server: Server) -> None:
    refused = await server.post("/v1/jobs", 404, json={"body": {**CHAT, "model": "nobody"}})
    assert refused["error"]["code"] == "model_not_found"


async def test_an_endpoint_that_the_target_does_not_serve_is_refused(server: Server) -> None:
    refused = await server.post("/v1/jobs", 400, json={"target": "claude", "endpoint": "/v1/embeddings", "body": CHAT})
    assert refused["error"]["code"] == "endpoint_not_supported"


async def test_a_body_that_is_too_large_is_refused_before_it_is_held(tmp_path: Path) -> None:
    async with running_server(tmp_path, max_body_bytes=1000) as server:
        body = json.dumps({"body": {**CHAT, "x": "y" * 2000}}).encode()

        async def pieces() -> AsyncIterator[bytes]:
            yield body

        assert (await server.post("/v1/jobs", 413, data=body))["error"]["code"] == "request_too_large"
        assert (await server.post("/v1/jobs", 413, data=pieces()))["error"]["code"] == "request_too_large"


async def test_a_large_body_and_a_large_result_come_through_whole(server: Server) -> None:
    data = io.BytesIO(json.dumps({"body": {**CHAT, "x": "ä" * 150_000}}, ensure_ascii=False).encode())
    job = await server.post("/v1/jobs", 202, data=data)
    claimed = await server.hand.take()
    assert claimed.job.body is not None
    assert claimed.job.body.blob_id
    await server.hand.succeed(claimed, json.dumps({"y": "z" * 100_000}))
    assert (await server.get(f"/v1/jobs/{job['id']}"))["result"]["body"] == {"y": "z" * 100_000}


async def test_cancelling_ends_a_queued_job_and_is_idempotent(server: Server) -> None:
    job = await server.submit()
    assert (await server.post(f"/v1/jobs/{job['id']}/cancel"))["status"] == "cancelled"
    again = await server.post(f"/v1/jobs/{job['id']}/cancel")
    assert again["status"] == "cancelled"
    assert set(again) == KEYS


async def test_a_dead_job_is_retried_and_a_live_one_is_not(server: Server) -> None:
    job = await server.submit()
    async with server.http.post(f"/v1/jobs/{job['id']}/retry") as reply:
        assert reply.status == 409
        assert reply.headers["x-should-retry"] == "false"
    await server.hand.fail(await server.hand.take())
    assert (await server.post(f"/v1/jobs/{job['id']}/retry"))["status"] == "queued"


async def test_erasing_takes_the_result_of_an_ended_job_and_leaves_its_ledger(server: Server) -> None:
    job = await server.submit()
    async with server.http.delete(f"/v1/jobs/{job['id']}") as reply:
        assert reply.status == 409
    await server.hand.succeed(await server.hand.take())
    async with server.http.delete(f"/v1/jobs/{job['id']}") as reply:
        assert await reply.json() == {"id": job["id"], "object": "job", "deleted": True}
    view = await server.get(f"/v1/jobs/{job['id']}")
    assert view["result"] is None
    assert len(view["attempts"]) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs/job_0"),
        ("GET", "/v1/jobs/job_0?wait=5"),
        ("DELETE", "/v1/jobs/job_0"),
        ("POST", "/v1/jobs/job_0/cancel"),
        ("POST", "/v1/jobs/job_0/retry"),
        ("GET", "/v1/nothing"),
        ("GET", "/v1/jobs/bulk"),
        ("POST", "/v1/nowhere"),
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/jobs/"),
    ],
)
async def test_what_is_not_there_is_a_404_in_the_envelope(server: Server, method: str, path: str) -> None:
    async with server.http.request(method, path, allow_redirects=False) as reply:
        assert reply.status == 404
        assert set((await reply.json())["error"]) == {"message", "type", "param", "code"}
        assert reply.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v1/jobs"), ("DELETE", "/v1/jobs"), ("POST", "/v1/jobs/x"), ("POST", "/v1/models"), ("POST", "/livez"),
     ("GET", "/v1/chat/completions"), ("GET", "/v1/jobs/x/cancel")],
)  # fmt: skip
async def test_a_method_that_a_path_does_not_take_is_a_405(server: Server, method: str, path: str) -> None:
    async with server.http.request(method, path) as reply:
        assert reply.status == 405
        assert reply.headers["allow"]
        assert (await reply.json())["error"]["code"] == "method_not_allowed"


async def test_a_405_names_all_methods_of_its_path(server: Server) -> None:
    async with server.http.put("/v1/jobs/x") as reply:
        assert reply.headers["allow"] == "DELETE, GET, HEAD"


@pytest.mark.parametrize("path", ["/v1/responses/x/y", "/v1/videos/x/y"])
async def test_what_a_later_version_has_is_refused_as_not_supported(server: Server, path: str) -> None:
    assert (await server.get(path, 400))["error"].get("code") == "not_supported"


async def test_paths_work_without_their_version(server: Server) -> None:
    job = await server.post("/jobs", 202, json={"body": CHAT})
    assert (await server.get(f"/jobs/{job['id']}"))["id"] == job["id"]
    assert (await server.get("/models"))["object"] == "list"

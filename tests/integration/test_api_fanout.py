"""A job to several ``targets`` at once, over HTTP: what is refused, and what comes back as one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.engine.worker import WorkerOptions, WorkerProcess
from tests.integration.api_server import CHAT, Server, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as running:
        yield running


async def _ended(server: Server, **fields: Any) -> dict[str, Any]:
    """The view of a job that a worker has run."""
    job = await server.submit(**fields)
    async with WorkerProcess(server.services, WorkerOptions()):
        view: dict[str, Any] = await server.get(f"/v1/jobs/{job['id']}", params={"wait": "60"})
    return view


async def test_the_answers_of_all_targets_come_back_as_one(server: Server) -> None:
    job = await _ended(server, targets=["gpt", "other", "gpt"], metadata={"of": "three"})
    assert (job["kind"], job["status"], job["target"]) == ("fanout", "succeeded", None)
    entries = job["result"]["body"]
    assert list(entries) == ["gpt", "other", "gpt-2"]
    assert set(entries["gpt"]) == {"status", "job_id", "body", "cost_usd"}
    assert set(job["result"]) == {"status_code", "body"}
    child = await server.get(f"/v1/jobs/{entries['other']['job_id']}")
    assert (child["parent_id"], child["target"], child["status"]) == (job["id"], "other", "succeeded")
    listed = await server.get("/v1/jobs", params={"parent_id": job["id"]})
    assert len(listed["data"]) == 3
    assert job["usage"]["input_tokens"] == sum(one["usage"]["input_tokens"] for one in listed["data"])
    roots = await server.get("/v1/jobs")
    assert [one["id"] for one in roots["data"]] == [job["id"]]


async def test_a_repeat_under_its_key_is_the_same_fan_out(server: Server) -> None:
    first = await server.submit(targets=["gpt", "other"], join="first", idempotency_key="k")
    assert (await server.submit(targets=["gpt", "other"], join="first", idempotency_key="k"))["id"] == first["id"]


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({"targets": []}, 400, "targets", "invalid_value"),
        ({"targets": "gpt"}, 400, "targets", "invalid_value"),
        ({"targets": ["gpt"], "target": "gpt"}, 400, "targets", "invalid_value"),
        ({"targets": ["gpt", "nobody"]}, 404, "target", "model_not_found"),
        ({"targets": ["gpt"], "join": {"successes": 2}}, 400, "join", "invalid_value"),
        ({"targets": ["gpt"], "join": "some"}, 400, "join", "invalid_value"),
        ({"join": "all"}, 400, "join", "invalid_value"),
        ({"targets": ["gpt"], "body": {**CHAT, "stream": True}}, 400, "body.stream", "streaming_unsupported"),
    ],
)
async def test_a_fan_out_that_cannot_be_is_refused_at_submission(
    server: Server, fields: dict[str, Any], status: int, param: str, code: str
) -> None:
    error = (await server.post("/v1/jobs", status, json={"body": CHAT, **fields}))["error"]
    assert (error["param"], error["code"]) == (param, code)

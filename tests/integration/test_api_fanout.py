"""A job to several ``targets`` at once, over HTTP: what is refused, and what comes back as one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forebay.domain.errors import TargetRejected
from forebay.domain.query import Parts
from forebay.engine.worker import WorkerOptions, WorkerProcess
from forebay.testing.targets import ScriptedTarget, answer
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


async def test_a_fan_out_shows_the_deadline_that_it_was_given(server: Server) -> None:
    deadline = server.services.clock.now() + 900
    job = await server.submit(targets=["gpt", "other"], deadline=deadline)
    assert job["deadline"] == deadline
    assert (await server.get("/v1/jobs"))["data"][0]["deadline"] == deadline
    relative = await server.submit(targets=["gpt"], deadline="15m")
    assert relative["deadline"] == pytest.approx(relative["created_at"] + 900)
    usual = await server.submit(targets=["gpt"])
    assert usual["deadline"] == pytest.approx(usual["created_at"] + 86_400)


async def test_a_failed_fan_out_is_retried_over_http(server: Server) -> None:
    refusing = server.services.targets["other"]
    assert isinstance(refusing, ScriptedTarget)
    refusing._steps = [TargetRejected("no", status_code=400), answer()]
    job = await _ended(server, targets=["gpt", "other"], join={"successes": 2})
    assert (job["status"], job["error"]["code"]) == ("failed", "no_quorum")
    await server.post(f"/v1/jobs/{job['id']}/retry")
    async with WorkerProcess(server.services, WorkerOptions()):
        again = await server.get(f"/v1/jobs/{job['id']}", params={"wait": "60"})
    assert again["status"] == "succeeded"
    assert [entry["status"] for entry in again["result"]["body"].values()] == ["succeeded", "succeeded"]


async def test_a_deleted_fan_out_takes_the_words_of_its_branches_with_it(server: Server) -> None:
    job = await _ended(server, targets=["gpt", "other"])
    ids = [job["id"], *(entry["job_id"] for entry in job["result"]["body"].values())]
    async with server.http.delete(f"/v1/jobs/{job['id']}") as reply:
        assert reply.status in {200, 204}, await reply.text()
    whole = Parts(body=True, result=True)
    for one in await server.services.jobs.get("default", ids, whole):
        assert one is not None
        assert (one.body, one.result) == (None, None)


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

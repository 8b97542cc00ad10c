"""Pushes of agents: known by their token, never a result, and at most the reason to ask now."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from forebay.domain.change import Change, Verdict
from forebay.domain.job import Job, Status
from forebay.domain.pending import InferCursor, Submission, encoded
from forebay.domain.target import TargetSpec, TargetType
from forebay.targets.a2a_push import job_of, push_token

from .api_server import SPECS, Server, running_server

AGENT = TargetSpec(name="other", type=TargetType.A2A, url="http://agent.example")
DONE = {"statusUpdate": {"taskId": "t-1", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}}
WORKING = {"statusUpdate": {"taskId": "t-1", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}}}
PIECE = {"artifactUpdate": {"taskId": "t-1", "artifact": {"artifactId": "a", "parts": []}}}
PAUSE_SECONDS = 60.0


async def waiting_job(server: Server, target: str = "other") -> Job:
    """A job whose target has accepted it, and is to be asked in a minute."""
    job_id = (await server.submit(target=target))["id"]
    claimed = await server.hand.take()
    pending = Submission(target=target, number=1, fence=claimed.fence, started_at=0.0, state="{}")
    snoozed = Change(
        job_id=job_id,
        fence=claimed.fence,
        status=Status.QUEUED,
        due_at=server.clock.now() + PAUSE_SECONDS,
        progress=encoded(InferCursor(pending=pending)),
    )
    assert await server.services.jobs.apply([snoozed]) == [Verdict.APPLIED]
    return await row(server, job_id)


async def row(server: Server, job_id: str) -> Job:
    [job] = await server.services.jobs.get(None, [job_id])
    assert job is not None
    return job


async def push(server: Server, token: str | None, body: Any = DONE, *, status: int = 200, bearer: bool = False) -> Any:
    headers = {}
    if token is not None:
        headers = {"authorization": f"Bearer {token}"} if bearer else {"x-a2a-notification-token": token}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await server.post("/v1/a2a/push", status, data=data, headers=headers)


@pytest.mark.parametrize("bearer", [False, True])
async def test_a_push_that_a_task_has_ended_makes_its_job_due_now_and_changes_nothing_else(
    tmp_path: Path, bearer: bool
) -> None:
    async with running_server(tmp_path, specs=(*SPECS[:2], AGENT)) as server:
        before = await waiting_job(server)
        token = push_token(before.id, server.services.secrets)
        assert await push(server, token, bearer=bearer) == {"object": "a2a.push", "hastened": True}
        after = await row(server, before.id)
        assert after.due_at == server.clock.now()
        assert replace(after, due_at=before.due_at) == before
        assert await push(server, token) == {"object": "a2a.push", "hastened": False}


async def test_an_agent_needs_no_api_key_where_all_others_do(tmp_path: Path) -> None:
    async with running_server(tmp_path, specs=(*SPECS[:2], AGENT)) as server:
        job = await waiting_job(server)
        await server.post("/v1/keys", json={"name": "ours", "scopes": ["admin", "submit", "read"]})
        await server.get("/v1/jobs", 401)
        assert (await push(server, push_token(job.id, server.services.secrets), bearer=True))["hastened"] is True
        await push(server, "wrong", status=401)


@pytest.mark.parametrize("news", [WORKING, PIECE, {"task": {"id": "t-1", **WORKING["statusUpdate"]}}])
async def test_a_push_that_a_task_goes_on_asks_for_nothing(tmp_path: Path, news: Any) -> None:
    async with running_server(tmp_path, specs=(*SPECS[:2], AGENT)) as server:
        before = await waiting_job(server)
        answer = await push(server, push_token(before.id, server.services.secrets), news)
        assert answer["hastened"] is False
        assert await row(server, before.id) == before


@pytest.mark.parametrize("news", [b"", b"{", b"[1]", b'{"new": 1}', b"\xff" * 100])
async def test_a_push_that_says_what_is_not_understood_is_reason_to_ask(tmp_path: Path, news: bytes) -> None:
    async with running_server(tmp_path, specs=(*SPECS[:2], AGENT)) as server:
        job = await waiting_job(server)
        assert (await push(server, push_token(job.id, server.services.secrets), news))["hastened"] is True


async def test_a_token_opens_its_own_job_alone_and_none_can_be_made_up(tmp_path: Path) -> None:
    async with running_server(tmp_path, specs=(*SPECS[:2], AGENT)) as server:
        one, other = await waiting_job(server), await waiting_job(server)
        right = push_token(one.id, server.services.secrets)
        mark = right.rpartition(".")[2]
        for wrong in (None, "", mark, f"{other.id}.{mark}", right[:-1], right + "0", right.upper(), "é.é"):
            answer = await push(server, wrong, status=401)
            assert answer["error"]["code"] == "invalid_api_key"
        assert await row(server, one.id) == one
        assert await row(server, other.id) == other


async def test_what_does_not_wait_for_an_agent_is_left_as_it_is(tmp_path: Path) -> None:
    async with running_server(tmp_path, specs=(*SPECS[:2], AGENT)) as server:
        slow = await waiting_job(server, "gpt")
        queued = await row(server, (await server.submit(target="other", not_before="1h"))["id"])
        for job_id in (slow.id, queued.id, "job_nowhere"):
            assert (await push(server, push_token(job_id, server.services.secrets)))["hastened"] is False
        assert await row(server, slow.id) == slow
        assert await row(server, queued.id) == queued


async def test_a_push_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    async with running_server(tmp_path, specs=(*SPECS[:2], AGENT), max_body_bytes=1000) as server:
        job = await waiting_job(server)
        await push(server, push_token(job.id, server.services.secrets), b" " * 1001, status=413)


async def test_a_token_is_the_same_after_a_restart_and_another_with_another_key(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        secrets = server.services.secrets
        assert job_of(push_token("job_1", secrets), type(secrets)("the secret key of tests")) == "job_1"
        assert job_of(push_token("job_1", secrets), type(secrets)("another key, as long")) is None
